// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import SwiftProtobuf
import TroupeCore

/// A server stream that is opened once its request is there and its metadata, which may
/// take a while to make, is known.
final class ActorStream<Input: ProtobufMessage, Output: ProtobufMessage>: ServerOnlyAsyncStreamInterface {
    typealias Open = @Sendable () async throws -> any ServerOnlyAsyncStreamInterface<Input, Output>

    private let open: Open
    private let stream: AsyncStream<StreamResult<Output>>
    private let sink: AsyncStream<StreamResult<Output>>.Continuation
    private let task = Locked<Task<Void, Never>?>(nil)

    init(_ open: @escaping Open) {
        self.open = open
        (stream, sink) = AsyncStream.makeStream()
    }

    func send(_ input: Input) throws {
        task.withLock { task in
            guard task == nil else { return }
            task = Task { [open, sink] in
                do {
                    let inner = try await open()
                    try inner.send(input)
                    await withTaskCancellationHandler {
                        for await result in inner.results() { sink.yield(result) }
                    } onCancel: {
                        inner.cancel()
                    }
                } catch {
                    let error = ActorError.from(error).connect
                    sink.yield(.complete(code: error.code, error: error, trailers: nil))
                }
                sink.finish()
            }
        }
        sink.onTermination = { [weak self] reason in
            if case .cancelled = reason { self?.cancel() }
        }
    }

    func results() -> AsyncStream<StreamResult<Output>> { stream }

    func cancel() {
        task.withLock { $0 }?.cancel()
    }
}

/// The same for callers that want to be called back.
struct CallbackStream<Input: ProtobufMessage, Output: ProtobufMessage>: ServerOnlyStreamInterface {
    let stream: ActorStream<Input, Output>

    func send(_ input: Input) { try? stream.send(input) } // it does not throw

    func cancel() { stream.cancel() }
}
