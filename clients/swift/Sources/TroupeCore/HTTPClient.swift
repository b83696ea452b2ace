// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// The settings that a URLSession needs for actors.
public enum SessionConfiguration {
    /// No cache and no cookies, streams that stay open for as long as they like, and
    /// enough connections: a URLSession opens four to six to a host over HTTP/1.1 unless
    /// told otherwise, each stream takes one, and a further call hangs.
    public static var actors: URLSessionConfiguration {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpMaximumConnectionsPerHost = 256
        configuration.timeoutIntervalForRequest = 24 * 3600 // the watchdog is faster
        configuration.timeoutIntervalForResource = 7 * 24 * 3600
        configuration.urlCache = nil
        configuration.httpCookieStorage = nil
        return configuration
    }
}

/// The Connect protocol over a URLSession, with bytes for messages. It is what a program
/// without a Connect library uses; see the module TroupeJSON.
///
/// It may be used by any number of tasks. ``invalidate()`` it in the end.
public final class HTTPClient: Sendable {
    /// The answer of a unary call.
    public struct Reply: Sendable {
        /// Names in lower case.
        public let headers: [String: String]
        public let body: Data
    }

    private let baseURL: URL
    private let codec: String
    private let session: URLSession
    private let delegate: SessionDelegate

    /// `codec` names the encoding of messages: "json" or "proto".
    public init(baseURL: URL, codec: String, configuration: URLSessionConfiguration = SessionConfiguration.actors) {
        self.baseURL = baseURL
        self.codec = codec
        delegate = SessionDelegate()
        session = URLSession(configuration: configuration, delegate: delegate, delegateQueue: nil)
    }

    /// Ends every call and frees the session.
    public func invalidate() {
        session.invalidateAndCancel()
    }

    /// Sends one request by POST. Throws ``ActorError``.
    public func unary(_ path: String, headers: [String: String], body: Data, timeout: Duration? = nil) async throws -> Reply {
        var request = request(path, headers: headers, contentType: "application/\(codec)")
        request.httpBody = body
        return try await unary(request, timeout: timeout)
    }

    private func unary(_ request: URLRequest, timeout: Duration?) async throws -> Reply {
        var request = request
        var timer: Task<Void, any Error>?
        let late = OneShot<Void>()
        if let timeout {
            let milliseconds = max(1, Int64((timeout / .milliseconds(1)).rounded(.up)))
            request.setValue(String(milliseconds), forHTTPHeaderField: "connect-timeout-ms")
        }
        let exchange = start(request)
        if let timeout {
            timer = Task {
                try await Task.sleep(for: timeout, clock: .continuous)
                late.resolve(())
                exchange.task.cancel()
            }
        }
        defer { timer?.cancel() }
        var body = Data()
        var response: HTTPURLResponse?
        do {
            for try await part in exchange.parts {
                switch part {
                case .head(let head): response = head
                case .body(let data): body.append(data)
                }
            }
        } catch {
            if late.isResolved { throw ActorError(.deadlineExceeded, "the call did not end in time") }
            throw error
        }
        try Task.checkCancellation()
        guard let response else { throw ActorError(.unavailable, "the answer broke off") }
        guard response.statusCode == 200 else { throw ConnectWire.error(status: response.statusCode, body: body) }
        return Reply(headers: response.lowercasedHeaders, body: body)
    }

    /// Sends one request by GET, which caches may answer; for methods without effects
    /// only. Throws ``ActorError``.
    public func get(_ path: String, headers: [String: String], body: Data, timeout: Duration? = nil) async throws -> Reply {
        var components = URLComponents(url: baseURL.appendingPathComponent(path), resolvingAgainstBaseURL: false)
        components?.queryItems = [
            URLQueryItem(name: "connect", value: "v1"), URLQueryItem(name: "encoding", value: codec), URLQueryItem(name: "base64", value: "1"),
            URLQueryItem(name: "message", value: body.base64URLEncodedString()),
        ]
        guard let url = components?.url else { throw ActorError.client(.invalidArgument, "the URL cannot be made", reason: "bad_url") }
        var request = URLRequest(url: url)
        for (name, value) in headers {
            request.setValue(value, forHTTPHeaderField: name)
        }
        return try await unary(request, timeout: timeout)
    }

    /// A plain request to an actor's own handler: see ``Address/url(base:service:path:)``.
    /// Whatever the status is, it is an answer.
    public func plain(_ request: URLRequest) async throws -> (HTTPURLResponse, Data) {
        var body = Data()
        var response: HTTPURLResponse?
        for try await part in exchange(request) {
            switch part {
            case .head(let head): response = head
            case .body(let data): body.append(data)
            }
        }
        try Task.checkCancellation()
        guard let response else { throw ActorError(.unavailable, "the answer broke off") }
        return (response, body)
    }

    /// A WebSocket to an actor's own handler. Resume it.
    public func webSocket(_ request: URLRequest) -> URLSessionWebSocketTask {
        #if canImport(FoundationNetworking)
        // On Linux URLSession asks to keep the connection alive, in place of an upgrade.
        var request = request
        request.setValue("Upgrade", forHTTPHeaderField: "Connection")
        #endif
        return session.webSocketTask(with: request)
    }

    /// Sends one request and returns the messages of its answer, as they come. The stream
    /// throws ``ActorError``; ending the loop cancels the call.
    public func serverStream(_ path: String, headers: [String: String], body: Data) -> AsyncThrowingStream<Data, any Error> {
        var request = request(path, headers: headers, contentType: "application/connect+\(codec)")
        request.httpBody = Envelope(content: body).encoded()
        let parts = exchange(request)
        return AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    try await Self.read(parts) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: ActorError.from(error))
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private static func read(_ parts: AsyncThrowingStream<SessionDelegate.Part, any Error>, _ message: (Data) -> Void) async throws {
        var decoder = EnvelopeDecoder()
        var status = 0
        var failure = Data()
        for try await part in parts {
            switch part {
            case .head(let head): status = head.statusCode
            case .body(let data) where status != 200: failure.append(data)
            case .body(let data):
                decoder.append(data)
                while let envelope = try decoder.next() {
                    guard !envelope.isCompressed else { throw ActorError(.internal, "a message is compressed, which was not asked for") }
                    guard envelope.isEndOfStream else {
                        message(envelope.content)
                        continue
                    }
                    if let error = try ConnectWire.endOfStream(envelope.content) { throw error }
                    return
                }
            }
        }
        try Task.checkCancellation()
        guard status == 200 else { throw ConnectWire.error(status: status, body: failure) }
        throw ActorError(.unavailable, "the stream broke off")
    }

    private func request(_ path: String, headers: [String: String], contentType: String) -> URLRequest {
        var request = URLRequest(url: baseURL.appendingPathComponent(path))
        request.httpMethod = "POST"
        for (name, value) in headers {
            request.setValue(value, forHTTPHeaderField: name)
        }
        request.setValue(contentType, forHTTPHeaderField: "content-type")
        request.setValue("1", forHTTPHeaderField: "connect-protocol-version")
        return request
    }

    package func exchange(_ request: URLRequest) -> AsyncThrowingStream<SessionDelegate.Part, any Error> {
        start(request).parts
    }

    private func start(_ request: URLRequest) -> (task: URLSessionTask, parts: AsyncThrowingStream<SessionDelegate.Part, any Error>) {
        let task = session.dataTask(with: request)
        let parts = AsyncThrowingStream<SessionDelegate.Part, any Error> { continuation in
            delegate.register(task, continuation)
            continuation.onTermination = { reason in
                if case .cancelled = reason {
                    task.cancel()
                }
            }
            task.resume()
        }
        return (task, parts)
    }
}

/// Hands what comes in for a task to whoever waits for it.
package final class SessionDelegate: NSObject, URLSessionDataDelegate, Sendable {
    package enum Part: Sendable {
        case head(HTTPURLResponse)
        case body(Data)
    }

    typealias Sink = AsyncThrowingStream<Part, any Error>.Continuation

    private let sinks = Locked<[Int: Sink]>([:])

    func register(_ task: URLSessionTask, _ sink: Sink) {
        sinks.withLock { $0[task.taskIdentifier] = sink }
    }

    package func urlSession(
        _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
    ) {
        if let response = response as? HTTPURLResponse {
            _ = sink(dataTask)?.yield(.head(response))
        }
        completionHandler(.allow)
    }

    package func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        _ = sink(dataTask)?.yield(.body(data))
    }

    package func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        let sink = sinks.withLock { $0.removeValue(forKey: task.taskIdentifier) }
        sink?.finish(throwing: error.map { ActorError.from($0) })
    }

    /// A redirection would lose the body and the address: it is an answer like any other.
    package func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest, completionHandler: @escaping (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }

    private func sink(_ task: URLSessionTask) -> Sink? {
        sinks.withLock { $0[task.taskIdentifier] }
    }
}

extension HTTPURLResponse {
    package var lowercasedHeaders: [String: String] {
        allHeaderFields.reduce(into: [:]) { headers, field in
            headers[String(describing: field.key).lowercased()] = String(describing: field.value)
        }
    }
}
