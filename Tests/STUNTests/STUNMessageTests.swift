@testable import STUN
