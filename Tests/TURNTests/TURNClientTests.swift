// TURNClientTests.swift — the client by itself.

import Testing
import Wire

@testable import TURN
