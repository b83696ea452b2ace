// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore

/// A client that speaks JSON over Connect: for programs without generated code, on every
/// platform. Messages are any `Codable`, in protobuf's JSON encoding: names in
/// lowerCamelCase, 64-bit numbers as strings.
public final class JSONClient: Sendable {
    /// How a client behaves.
    public struct Options: Sendable {
        /// The tenant.
        public var namespace = "default"
        /// Sent with every call and stream; asked anew for every attempt.
        public var headers: ActorCalls.HeaderSource = { [:] }
        /// Repeats calls: see ``RetryPolicy``.
        public var retries = true
        /// Gives every call of a method that may have effects an idempotency key.
        public var idempotencyKeys = true
        public var platform = Platform.system

        public init() {}
    }

    let http: HTTPClient
    let options: Options
    let retries: RetryPolicy

    /// A client of the server at `baseURL`. It sends nothing yet.
    public init(baseURL: URL, options: Options = .init()) {
        http = HTTPClient(baseURL: baseURL, codec: "json")
        self.options = options
        retries = RetryPolicy(platform: options.platform, enabled: options.retries)
    }

    /// Ends every call and stream, and frees the session.
    public func close() {
        http.invalidate()
    }

    /// The actor with this key, which a first call creates, with this input.
    public func getOrCreate(_ service: String, _ key: [String], input: Data? = nil) -> JSONActor {
        actor(service, .key(key, .getOrCreate), input: input)
    }

    /// The actor with this key. Calls fail with `not_found` while there is none.
    public func get(_ service: String, _ key: [String]) -> JSONActor {
        actor(service, .key(key, .get))
    }

    /// The actor with this key. A call creates it, and fails with `already_exists` if it
    /// is there.
    public func create(_ service: String, _ key: [String], input: Data? = nil) -> JSONActor {
        actor(service, .key(key, .create), input: input)
    }

    /// One incarnation of an actor.
    public func forID(_ service: String, _ id: String) -> JSONActor {
        actor(service, .id(id))
    }

    /// The actor of an address. `service` is the full name of the actor's service.
    public func actor(_ service: String, _ target: Address.Target, input: Data? = nil, params: Data? = nil) -> JSONActor {
        JSONActor(client: self, service: service,
                  address: Address(target, namespace: options.namespace, input: input, params: params))
    }

    /// Calls a service that is no actor, such as `troupe.v1.ActorService`. Throws
    /// ``ActorError``.
    public func call<Request: Encodable, Reply: Decodable>(
        _ method: Method, _ request: Request, as reply: Reply.Type = Reply.self
    ) async throws -> Reply {
        let body = try JSONEncoder().encode(request)
        return try await retries.run(method, keyed: false) { [http, options] left in
            let answer = try await http.unary(method.path, headers: try await options.headers(), body: body, timeout: left)
            return try decode(Reply.self, answer.body)
        }
    }
}

/// One actor. It holds nothing open.
public struct JSONActor: Sendable {
    let client: JSONClient
    public let service: String
    public let address: Address

    private var calls: ActorCalls {
        ActorCalls(address: address, retries: client.retries, keys: client.options.idempotencyKeys, headers: client.options.headers)
    }

    /// The answer of a call, with what the server says about it.
    public struct Reply<Message: Sendable>: Sendable {
        public let message: Message
        /// Names in lower case: see ``HeaderName``.
        public let headers: [String: String]
    }

    /// Calls a method, as a connection if one is given. Throws ``ActorError``.
    public func call<Request: Encodable & Sendable, Message: Decodable & Sendable>(
        _ name: String,
        _ request: Request,
        as message: Message.Type = Message.self,
        idempotency: Idempotency = .unknown,
        headers: [String: String] = [:],
        timeout: Duration? = nil,
        over connection: JSONConnection<some Sendable & Decodable>
    ) async throws -> Reply<Message> {
        let (method, send) = try prepare(name, request, message, idempotency)
        return try await calls.unary(method, over: connection, headers: headers, timeout: timeout, attempt: send)
    }

    /// Calls a method. Throws ``ActorError``.
    public func call<Request: Encodable & Sendable, Message: Decodable & Sendable>(
        _ name: String,
        _ request: Request,
        as message: Message.Type = Message.self,
        idempotency: Idempotency = .unknown,
        headers: [String: String] = [:],
        timeout: Duration? = nil
    ) async throws -> Reply<Message> {
        let (method, send) = try prepare(name, request, message, idempotency)
        return try await calls.unary(method, headers: headers, timeout: timeout, attempt: send)
    }

    private typealias Attempt<Message: Sendable> = @Sendable ([String: String], Duration?) async throws -> Reply<Message>

    private func prepare<Request: Encodable, Message: Decodable & Sendable>(
        _ name: String, _ request: Request, _ message: Message.Type, _ idempotency: Idempotency
    ) throws -> (Method, Attempt<Message>) {
        let method = Method(service: service, name: name, idempotency: idempotency)
        let body = try JSONEncoder().encode(request)
        return (method, { [http = client.http] headers, left in
            let answer = try await http.unary(method.path, headers: headers, body: body, timeout: left)
            return Reply(message: try decode(Message.self, answer.body), headers: answer.headers)
        })
    }

    /// Calls a server-streaming method. A stream is sent once. It throws ``ActorError``.
    public func stream<Request: Encodable & Sendable, Message: Decodable & Sendable>(
        _ name: String, _ request: Request, as message: Message.Type = Message.self, headers: [String: String] = [:]
    ) async throws -> AsyncThrowingStream<Message, any Error> {
        let body = try JSONEncoder().encode(request)
        let messages = client.http.serverStream("\(service)/\(name)", headers: try await calls.streamHeaders(headers), body: body)
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
    ) -> JSONConnection<Event> {
        // Parameters for calls outside a connection have no place in one.
        let calls = JSONActor(client: client, service: service, address: Address(address.target, namespace: address.namespace, input: address.input)).calls
        let path = "\(service)/\(name)"
        return Connection(options: options, platform: client.options.platform) { [http = client.http] headers in
            let body = try JSONEncoder().encode(try await params())
            let messages = http.serverStream(path, headers: try await calls.streamHeaders(headers), body: body)
            return mapped(messages) { try frame($0, info: info) }
        }
    }
}

/// A connection whose events are any `Decodable`.
public typealias JSONConnection<Event: Decodable & Sendable> = Connection<Event>

private func decode<Message: Decodable>(_ type: Message.Type, _ data: Data) throws -> Message {
    do {
        return try JSONDecoder().decode(type, from: data)
    } catch {
        throw ActorError(.internal, "the answer is not a \(type): \(error)")
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
