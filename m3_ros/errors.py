"""The errors a user can meet. Each message says what was wanted, what came, and what to do."""


class M3Error(Exception):
    """Root of every error this package raises on purpose; the command line prints it as one line."""


class RecordingError(M3Error):
    """A recording cannot be read or written: missing topic, broken file, image without a pose."""


class EncoderError(M3Error):
    """A feature encoder cannot be loaded or used: unknown name, missing weights, wrong checkpoint."""


class BackendError(M3Error):
    """No rendering backend can do what was asked: the CPU kernel is not built, or CUDA is absent."""


class TrainingError(M3Error):
    """Training cannot start or go on with this input."""


class Cancelled(M3Error):
    """The caller asked to stop; nothing half-written was left behind."""


class MemoryFormatError(M3Error):
    """A saved memory is partial, corrupt, of a newer version, or was made with another encoder."""


class QueryError(M3Error):
    """A question cannot be answered as asked: empty text, no memory loaded."""


class PlanningError(M3Error):
    """No standing pose or path can be given, and why."""


class SimulationError(M3Error):
    """The simulated world cannot be built or rendered on this machine."""
