// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// One actor. It holds nothing open.
public struct JSONActor: Sendable {
    let client: JSONClient
    /// The full name of the actor's service.
    public let service: String
    let target: Address.Target
    /// The parameters of calls made outside a connection, in protobuf's binary encoding.
    let params: Data?
    var creation: Creation?

    /// The answer of a call, with what the server says about it.
    public struct Reply<Message: Sendable>: Sendable {
        public let message: Message
        /// Names in lower case: see ``HeaderName``.
        public let headers: [String: String]
    }

    /// How one call is made.
    public struct CallOptions: Sendable {
        /// What the method's schema says about calling it twice.
        public var idempotency: Idempotency
        public var headers: [String: String]
        public var timeout: Duration?
        /// Sends a method without effects by GET, which caches may answer.
        public var usesGET: Bool

        public init(idempotency: Idempotency = .unknown, headers: [String: String] = [:], timeout: Duration? = nil, usesGET: Bool = false) {
            self.idempotency = idempotency
            self.headers = headers
            self.timeout = timeout
            self.usesGET = usesGET
        }
    }

    /// Calls a method. Throws ``ActorError``.
    public func call<Request: Encodable & Sendable, Message: Decodable & Sendable>(
        _ name: String, _ request: Request, as message: Message.Type = Message.self, options: CallOptions = .init()
    ) async throws -> Reply<Message> {
        let attempt = try attempt(name, request, message, options)
        return try await calls(params).unary(method(name, options), headers: options.headers, timeout: options.timeout, attempt: attempt)
    }

    /// Calls a method as a connection. Throws ``ActorError``.
    public func call<Request: Encodable & Sendable, Message: Decodable & Sendable, Event>(
        _ name: String, _ request: Request, as message: Message.Type = Message.self, options: CallOptions = .init(),
        over connection: Connection<Event>
    ) async throws -> Reply<Message> {
        let attempt = try attempt(name, request, message, options)
        return try await calls(nil).unary(
            method(name, options), over: connection, headers: options.headers, timeout: options.timeout, attempt: attempt)
    }

    /// Calls a server-streaming method. A stream is sent once. It throws ``ActorError``.
    public func stream<Request: Encodable & Sendable, Message: Decodable & Sendable>(
        _ name: String, _ request: Request, as message: Message.Type = Message.self, headers: [String: String] = [:]
    ) async throws -> AsyncThrowingStream<Message, any Error> {
        let body = try JSONEncoder().encode(request)
        _ = try await creation?.ensure()
        let messages = client.http.serverStream("\(service)/\(name)", headers: try await calls(params).streamHeaders(headers), body: body)
        return mapped(messages) { try decode(Message.self, $0) }
    }

    /// A connection to the actor, over its subscription. `params` makes the
    /// subscription's request anew for every stream. It begins with its first use.
    ///
    /// `info` is the JSON name of the field of the event union that holds its EventInfo.
    public func connect<Params: Encodable & Sendable, Event: Decodable & Sendable>(
        _ name: String = "Subscribe",
        events: Event.Type = Event.self,
        options: ConnectionOptions = .init(),
        info: String = "info",
        params: @escaping @Sendable () async throws -> Params
    ) -> Connection<Event> {
        let calls = calls(nil) // parameters for calls outside a connection have no place in one
        return Connection(options: options, platform: client.options.platform) { [client, creation, service] headers in
            let body = try JSONEncoder().encode(try await params())
            _ = try await creation?.ensure()
            let messages = client.http.serverStream("\(service)/\(name)", headers: try await calls.streamHeaders(headers), body: body)
            return mapped(messages) { try frame($0, info: info) }
        }
    }

    /// The id of the actor's present incarnation; `not_found` if there is none. Throws
    /// ``ActorError``.
    public func resolve() async throws -> String {
        switch target {
        case .id(let id): return id
        case .key(let key, _):
            let request = LifecycleRequest(address: .init(namespace: client.options.namespace, type: service, key: key))
            let reply: LifecycleReply = try await client.call(.lifecycle("Resolve", idempotency: .noSideEffects), request)
            return reply.id ?? ""
        }
    }

    /// Destroys the actor's present incarnation, for which the caller needs the server
    /// role; `not_found` if there is none. Throws ``ActorError``.
    public func destroy() async throws {
        let request = LifecycleRequest(address: .init(id: try await resolve()))
        let _: LifecycleReply = try await client.call(.lifecycle("Destroy"), request)
    }

    /// A request to the actor's own HTTP handler, with the client's headers. Whatever its
    /// status is, it is an answer.
    public func fetch(
        _ path: String, method: String = "GET", headers: [String: String] = [:], body: Data? = nil
    ) async throws -> (response: HTTPURLResponse, body: Data) {
        var request = try await plainRequest(path)
        request.httpMethod = method
        request.httpBody = body
        for (name, value) in headers {
            request.setValue(value, forHTTPHeaderField: name)
        }
        do {
            return try await client.http.plain(request)
        } catch {
            throw ActorError.from(error)
        }
    }

    /// A WebSocket to the actor's own handler, with the client's headers. Resume it. On
    /// Linux, a server's close discards messages that nobody has asked to receive yet.
    public func webSocket(_ path: String) async throws -> URLSessionWebSocketTask {
        var request = try await plainRequest(path)
        let url = try request.url.flatMap { url -> URL? in
            var components = URLComponents(url: url, resolvingAgainstBaseURL: false)
            components?.scheme = url.scheme == "https" ? "wss" : "ws"
            return components?.url
        } ?? { throw AddressError("the URL cannot be made") }()
        request.url = url
        return client.http.webSocket(request)
    }

    private func plainRequest(_ path: String) async throws -> URLRequest {
        _ = try await creation?.ensure()
        let address = Address(target, namespace: client.options.namespace, params: params)
        var request = URLRequest(url: try address.url(base: client.baseURL, service: service, path: path))
        for (name, value) in try await client.options.headers() {
            request.setValue(value, forHTTPHeaderField: name)
        }
        return request
    }

    private func calls(_ params: Data?) -> ActorCalls {
        ActorCalls(address: Address(target, namespace: client.options.namespace, params: params), retries: client.retries,
                   keys: client.options.idempotencyKeys, headers: client.options.headers)
    }

    private func method(_ name: String, _ options: CallOptions) -> Method {
        Method(service: service, name: name, idempotency: options.idempotency)
    }

    private typealias Attempt<Message: Sendable> = @Sendable ([String: String], Duration?) async throws -> Reply<Message>

    private func attempt<Request: Encodable, Message: Decodable & Sendable>(
        _ name: String, _ request: Request, _ message: Message.Type, _ options: CallOptions
    ) throws -> Attempt<Message> {
        let body = try JSONEncoder().encode(request)
        let path = "\(service)/\(name)"
        let usesGET = options.usesGET && options.idempotency == .noSideEffects
        return { [http = client.http, creation] headers, left in
            let created = try await creation?.ensure() ?? false
            let answer = usesGET
                ? try await http.get(path, headers: headers, body: body, timeout: left)
                : try await http.unary(path, headers: headers, body: body, timeout: left)
            var replyHeaders = answer.headers
            if created {
                replyHeaders[HeaderName.created] = "true"
            }
            return Reply(message: try decode(Message.self, answer.body), headers: replyHeaders)
        }
    }
}

/// A frame in JSON. An event that the program's type does not know has none.
private func frame<Event: Decodable>(_ data: Data, info field: String) throws -> Frame<Event> {
    let decoder = JSONDecoder()
    decoder.userInfo[.infoField] = field
    do {
        let info = try decoder.decode(FrameHead.self, from: data).info?.info ?? EventInfo()
        return Frame(info: info, event: info.control == nil ? try? JSONDecoder().decode(Event.self, from: data) : nil)
    } catch {
        throw ActorError(.internal, "a frame cannot be read: \(error)")
    }
}

/// The field of a frame that says what it is.
private struct FrameHead: Decodable {
    struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    let info: JSONEventInfo?

    init(from decoder: any Decoder) throws {
        let field = decoder.userInfo[.infoField] as? String ?? ""
        info = try decoder.container(keyedBy: Key.self).decodeIfPresent(JSONEventInfo.self, forKey: Key(stringValue: field))
    }
}

extension CodingUserInfoKey {
    fileprivate static let infoField = CodingUserInfoKey(rawValue: "dev.troupe.info")!
}

/// Passes a stream on through a function. Ending it ends the stream behind it.
private func mapped<In: Sendable, Out: Sendable>(
    _ stream: AsyncThrowingStream<In, any Error>, _ transform: @escaping @Sendable (In) throws -> Out
) -> AsyncThrowingStream<Out, any Error> {
    AsyncThrowingStream { continuation in
        let task = Task {
            do {
                for try await value in stream {
                    continuation.yield(try transform(value))
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
    }
}
