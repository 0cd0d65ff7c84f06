//! Compiles the .proto files without a system protoc, and keeps their descriptors for the JSON gateway.

use std::error::Error;
use std::path::Path;

use prost::Message as _;

const FILES: [&str; 6] = ["auth.proto", "election.proto", "health.proto", "kv.proto", "lock.proto", "rpc.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Keys and values travel as slices of the buffer that they arrived in.
    tonic_prost_build::configure().bytes(".").codec_path("crate::codec::ProtoCodec").compile_fds(descriptors)?;
    Ok(())
}
