package integration

import "go.etcd.io/etcd/pkg/transport"

// The certificates of etcd's own tests, copied beside this package with them.
var (
	testTLSInfo          = certificates("fixtures", "server")
	testTLSInfoIP        = certificates("fixtures", "server-ip")
	testTLSInfoExpired   = certificates("fixtures-expired", "server")
	testTLSInfoExpiredIP = certificates("fixtures-expired", "server-ip")
)

// defaultTokenJWT is a setting of etcd's authentication, which Althing does not have.
const defaultTokenJWT = "jwt"

func certificates(folder, name string) transport.TLSInfo {
	return transport.TLSInfo{
		KeyFile:        folder + "/" + name + ".key.insecure",
		CertFile:       folder + "/" + name + ".crt",
		TrustedCAFile:  folder + "/ca.crt",
		ClientCertAuth: true,
	}
}
