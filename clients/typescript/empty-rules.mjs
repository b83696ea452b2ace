// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The schema of the validation rules, buf/validate/validate.proto, is larger than
// everything else a client carries, and a client reads no rules: they are the
// server's. Nothing but options refers to its messages, and protobuf-es keeps
// options that it does not know as they are. So an empty file of the same name
// stands in for it wherever a client is built.

const file = Buffer.from("\n\x1bbuf/validate/validate.proto\x12\x0cbuf.validate").toString("base64");

/** A module to use instead of gen/ts/buf/validate/validate_pb.ts. */
export const emptyRules = `// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { fileDesc } from "@bufbuild/protobuf/codegenv2";

/** An empty stand-in for buf/validate/validate.proto. */
export const file_buf_validate_validate = /*@__PURE__*/ fileDesc("${file}");
`;

/** Its types. */
export const emptyRulesTypes = `import type { GenFile } from "@bufbuild/protobuf/codegenv2";
export declare const file_buf_validate_validate: GenFile;
`;
