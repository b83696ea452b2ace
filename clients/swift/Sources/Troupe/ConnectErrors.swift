// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Connect
import Foundation
import TroupeCore

extension ActorError {
    /// An error of connect-swift, with the details that a Troupe server adds.
    public init(_ error: ConnectError) {
        if let inner = error.exception as? ActorError {
            self = inner
            return
        }
        let code = TroupeCore.Code(rawValue: error.code.name) ?? .unknown
        let details = error.details.compactMap { detail in detail.payload.map { ErrorDetail(type: detail.type, value: $0) } }
        let message = error.message ?? ""
        if details.isEmpty { // every error of a Troupe server has some: this one is of the way there
            self.init(code, message)
        } else {
            self.init(remote: code, message: message, details: details)
        }
    }

    /// The error as connect-swift has it.
    var connect: ConnectError {
        let code = Connect.Code.allCases.first { $0.name == self.code.rawValue } ?? .unknown
        return ConnectError(code: code, message: message, exception: self)
    }
}

extension ConnectError {
    /// An error of the network.
    init(lost error: any Error) {
        self = ActorError.from(error).connect
    }
}

extension ResponseMessage {
    /// The message. Throws ``ActorError``.
    public func get() throws -> Output {
        switch result {
        case .success(let message): return message
        case .failure(let error): throw ActorError(error)
        }
    }
}
