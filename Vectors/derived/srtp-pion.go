// srtp-pion.go — holds the packets of srtp.txt against Pion's SRTP (Debian: golang-github-pion-srtp.v2-dev), which is
// neither ours nor libsrtp: it must protect each to the same bytes. Pion 2.0.12 has no AEAD_AES_256_GCM; those are skipped.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run Vectors/derived/srtp-pion.go Vectors/derived/srtp.txt
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pion/srtp/v2"
)

type record map[string]string

func (r record) bytes(key string) []byte {
	value, err := hex.DecodeString(r[key])
	if err != nil {
		panic(err)
	}
	return value
}

func (r record) protect() ([]byte, error) {
	profile := srtp.ProtectionProfileAes128CmHmacSha1_80
	if r["profile"] == "SRTP_AEAD_AES_128_GCM" {
		profile = srtp.ProtectionProfileAeadAes128Gcm
	}
	context, err := srtp.CreateContext(r.bytes("master key"), r.bytes("master salt"), profile)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(r["number"], 10, 32)
	if err != nil {
		return nil, err
	}
	plain := r.bytes("plain")
	if strings.HasPrefix(r["name"], "rtcp") {
		ssrc := uint32(plain[4])<<24 | uint32(plain[5])<<16 | uint32(plain[6])<<8 | uint32(plain[7])
		context.SetIndex(ssrc, uint32(number)-1) // it counts before it protects
		return context.EncryptRTCP(nil, plain, nil)
	}
	ssrc := uint32(plain[8])<<24 | uint32(plain[9])<<16 | uint32(plain[10])<<8 | uint32(plain[11])
	context.SetROC(ssrc, uint32(number))
	return context.EncryptRTP(nil, plain, nil)
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	var records []record
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), " = ")
		if name := strings.TrimPrefix(lines.Text(), "name: "); name != lines.Text() {
			records = append(records, record{"name": name})
		} else if found {
			records[len(records)-1][key] = value
		}
	}
	checked, wrong := 0, 0
	for _, r := range records {
		if r["profile"] == "SRTP_AEAD_AES_256_GCM" {
			continue
		}
		checked++
		if protected, err := r.protect(); err != nil || !bytes.Equal(protected, r.bytes("protected")) {
			wrong++
			fmt.Printf("%s: %v\n  file %s\n  Pion %x\n", r["name"], err, r["protected"], protected)
		}
	}
	fmt.Printf("%d packets, %d differ\n", checked, wrong)
	if wrong > 0 || checked == 0 {
		os.Exit(1)
	}
}
