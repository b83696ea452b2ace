// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeJSON

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Speaks to the scenarios' server.
enum Control {
    @discardableResult
    static func post(_ url: URL, _ body: Data? = nil) async throws -> Data { try await send(url, "POST", body) }

    static func delete(_ url: URL) async throws { _ = try await send(url, "DELETE", nil) }

    private static func send(_ url: URL, _ method: String, _ body: Data?) async throws -> Data {
        var request = URLRequest(url: url)
        request.httpMethod = method
        request.httpBody = body
        let (data, response) = try await URLSession.shared.data(for: request)
        guard let status = (response as? HTTPURLResponse)?.statusCode, (200..<300).contains(status) else {
            throw Mismatch("\(url): \(String(decoding: data, as: UTF8.self))")
        }
        return data
    }
}

/// A server of the scenarios' server, behind a network that breaks.
struct Run: Decodable {
    private let id: String
    let url: URL
    /// Past that network.
    let direct: URL
    private var control: URL?

    static func make(at control: URL, settings: JSONValue) async throws -> Run {
        let answer = try await Control.post(control.appendingPathComponent("runs"), try JSONEncoder().encode(settings))
        var made = try JSONDecoder().decode(Run.self, from: answer)
        made.control = control.appendingPathComponent("runs/\(made.id)")
        return made
    }

    /// Does what a step of a scenario does to the network or the server.
    func act(_ act: String) async throws {
        try await Control.post(URL(string: "\(control!.absoluteString)/\(act)")!)
    }

    func end() async throws { try await Control.delete(control!) }
}
