// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors
