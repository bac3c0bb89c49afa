// Placeholder so that the target builds until its tests are here.
import Testing
