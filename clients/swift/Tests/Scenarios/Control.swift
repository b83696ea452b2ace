// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

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
