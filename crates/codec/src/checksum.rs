//! CRC32C (Castagnoli), in hardware where there is any. It finds rot and tears; it is no defence against an enemy.

/// The CRC32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// Goes on from `crc` over `bytes`: `extend(crc32c(a), b)` is `crc32c(a ++ b)`.
#[must_use]
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}
