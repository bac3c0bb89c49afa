// SecurityOptions.swift — by which certificate a command's connections are known, and who else may read them.

import ArgumentParser
import Foundation
import WebRTC

struct SecurityOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Append the secrets of every connection to this file, for Wireshark. Whoever has it can read them.",
      valueName: "file"))
  var keyLog: String?
  @Option(
    help: ArgumentHelp("The certificate to show, as PEM, instead of a fresh one.", valueName: "file"))
  var certificate: String?
  @Option(help: ArgumentHelp("The certificate's private key, as PEM, without a password.", valueName: "file"))
  var privateKey: String?

  func validate() throws {
    guard (certificate == nil) == (privateKey == nil) else {
      throw ValidationError("--certificate and --private-key belong together")
    }
  }

  func apply(to configuration: inout PeerConnectionConfiguration) throws {
    configuration.keyLogFile = keyLog
    guard let certificate, let privateKey else { return }
    configuration.certificate = try Certificate(
      certificatePEM: String(contentsOfFile: certificate, encoding: .utf8),
      privateKeyPEM: String(contentsOfFile: privateKey, encoding: .utf8))
  }

  /// The same options for another process of this program.
  var arguments: [String] {
    [("--key-log", keyLog), ("--certificate", certificate), ("--private-key", privateKey)]
      .flatMap { name, value in value.map { [name, $0] } ?? [] }
  }
}
