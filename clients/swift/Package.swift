// swift-tools-version: 6.0
// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// TroupeCore and TroupeJSON need Foundation alone. Troupe and TroupeUI are for Apple's
// platforms: connect-swift does not build on Linux.
let package = Package(
    name: "Troupe",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "TroupeCore", targets: ["TroupeCore"]),
        .library(name: "TroupeJSON", targets: ["TroupeJSON"]),
    ],
    targets: [
        .target(name: "TroupeCore"),
        .target(name: "TroupeJSON", dependencies: ["TroupeCore"]),
        .testTarget(name: "TroupeCoreTests", dependencies: ["TroupeCore"]),
        .executableTarget(name: "scenarios", dependencies: ["TroupeCore", "TroupeJSON"], path: "Tests/Scenarios"),
        .testTarget(name: "TroupeJSONTests", dependencies: ["TroupeCore", "TroupeJSON"]),
    ],
    swiftLanguageModes: [.v6]
)

#if !os(Linux)
package.products += [
    .library(name: "Troupe", targets: ["Troupe"]),
    .library(name: "TroupeUI", targets: ["TroupeUI"]),
]
package.dependencies += [
    .package(url: "https://github.com/connectrpc/connect-swift.git", from: "1.2.3"),
    .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.37.0"),
]
let connect: [Target.Dependency] = [
    .product(name: "Connect", package: "connect-swift"),
    .product(name: "SwiftProtobuf", package: "swift-protobuf"),
]
package.targets += [
    .target(name: "Troupe", dependencies: ["TroupeCore"] + connect),
    .target(name: "TroupeUI", dependencies: ["Troupe", "TroupeCore"] + connect),
    .target(name: "Schemas", dependencies: connect, path: "Tests/Schemas", exclude: ["schemas.sha256"]),
    .testTarget(name: "TroupeTests", dependencies: ["Troupe", "TroupeCore", "Schemas"] + connect),
    .testTarget(name: "TroupeUITests", dependencies: ["TroupeUI", "Troupe", "TroupeCore"] + connect),
]
#endif
