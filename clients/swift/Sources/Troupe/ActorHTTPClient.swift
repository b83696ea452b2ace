// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import TroupeCore

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// The HTTP client of actors, for connect-swift. Unlike its own it keeps off the main
/// queue, opens as many connections to a host as there are streams, and sends the one
/// request of a server stream with its length.
public final class ActorHTTPClient: HTTPClientInterface {
    private let http: TroupeCore.HTTPClient

    public init(configuration: URLSessionConfiguration = SessionConfiguration.actors) {
        http = TroupeCore.HTTPClient(baseURL: URL(fileURLWithPath: "/"), codec: "", configuration: configuration)
    }

    deinit {
        http.invalidate()
    }

    public func unary(
        request: HTTPRequest<Data?>,
        onMetrics: @escaping @Sendable (HTTPMetrics) -> Void,
        onResponse: @escaping @Sendable (HTTPResponse) -> Void
    ) -> Cancelable {
        let urlRequest = URLRequest(request, body: request.message)
        let task = Task { [http] in
            do {
                let (response, body) = try await http.plain(urlRequest)
                onResponse(HTTPResponse(
                    code: Connect.Code.fromHTTPStatus(response.statusCode), headers: response.connectHeaders, message: body, trailers: [:],
                    error: nil, tracingInfo: .init(httpStatus: response.statusCode)))
            } catch {
                let error = ConnectError(lost: error)
                onResponse(HTTPResponse(code: error.code, headers: [:], message: nil, trailers: [:], error: error, tracingInfo: nil))
            }
        }
        return Cancelable { task.cancel() }
    }

    public func stream(request: HTTPRequest<Data?>, responseCallbacks: ResponseCallbacks) -> RequestCallbacks<Data> {
        let body = Locked<(data: Data, task: Task<Void, Never>?)>((Data(), nil))
        return RequestCallbacks(
            cancel: { body.withLock { $0.task?.cancel() } },
            sendData: { data in body.withLock { $0.data += data } },
            sendClose: { [http] in
                body.withLock { body in
                    guard body.task == nil else { return } // it is told to close at the end too
                    let urlRequest = URLRequest(request, body: body.data)
                    body.task = Task { await Self.run(http.exchange(urlRequest), responseCallbacks) }
                }
            })
    }

    private static func run(_ parts: AsyncThrowingStream<SessionDelegate.Part, any Error>, _ callbacks: ResponseCallbacks) async {
        do {
            for try await part in parts {
                switch part {
                case .head(let response):
                    callbacks.receiveResponseHeaders(response.connectHeaders)
                    guard response.statusCode == 200 else {
                        return callbacks.receiveClose(Connect.Code.fromHTTPStatus(response.statusCode), [:], nil)
                    }
                case .body(let data): callbacks.receiveResponseData(data)
                }
            }
            try Task.checkCancellation()
            callbacks.receiveClose(.ok, [:], nil)
        } catch {
            let error = ConnectError(lost: error)
            callbacks.receiveClose(error.code, [:], error)
        }
    }
}

extension URLRequest {
    fileprivate init(_ request: HTTPRequest<Data?>, body: Data?) {
        self.init(url: request.url)
        httpMethod = request.method.rawValue
        httpBody = body
        for (name, values) in request.headers {
            setValue(values.joined(separator: ","), forHTTPHeaderField: name)
        }
    }
}

extension HTTPURLResponse {
    /// Its headers, without an encoding that URLSession has undone already.
    fileprivate var connectHeaders: Headers {
        var headers = lowercasedHeaders.mapValues { [$0] }
        headers["content-encoding"] = nil
        return headers
    }
}
