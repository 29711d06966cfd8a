"""The trainer node: the action `train` (TrainMemory) runs one offline training at a time, with feedback and cancel."""

import sys
import time
from math import nan
from pathlib import Path
from threading import Lock
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from m3_ros.action import TrainMemory
from m3_ros.errors import Cancelled, M3Error, RecordingError, TrainingError
from m3_ros.nodes.locations import local_path
from m3_ros.nodes.parameters import Parameters
from m3_ros.nodes.reporting import Reporter
from m3_ros.nodes.runtime import run
from m3_ros.nodes.trainer_settings import TrainerSettings, training_settings
from m3_ros.training.progress import Progress, overall_fraction

FEEDBACK_PERIOD_S = 0.2
"""At most so often feedback is published [s], but always at a change of stage."""


class Trainer(Node):
    """Runs trainings; the job computes in a thread of the executor that is meant for it."""

    def __init__(self) -> None:
        super().__init__("trainer", namespace="m3")
        self.parameters = Parameters(self, TrainerSettings)
        self._report = Reporter(self)
        self._busy = Lock()
        self._server = ActionServer(
            self,
            TrainMemory,
            "train",
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )
        self._report.status(state="idle")

    def _on_goal(self, _: TrainMemory.Goal) -> GoalResponse:
        if self._busy.acquire(blocking=False):
            return GoalResponse.ACCEPT
        self.get_logger().warning("a goal was refused: a training is running; cancel it or wait")
        return GoalResponse.REJECT

    def _execute(self, handle: ServerGoalHandle) -> TrainMemory.Result:
        try:
            result = self._train(handle)
        finally:
            self._busy.release()
        if self.context.ok():
            self._finish(handle, result)
        return result

    def _train(self, handle: ServerGoalHandle) -> TrainMemory.Result:
        job = Job(handle, self)
        try:
            return job.run(self.parameters.current)
        except Cancelled as error:
            return _failure(TrainMemory.Result.CANCELLED, error)
        except (RecordingError, TrainingError) as error:
            return _failure(TrainMemory.Result.BAD_RECORDING, error)
        except M3Error as error:
            return _failure(TrainMemory.Result.INTERNAL, error)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a job must reach its client, and the node lives on
            self.get_logger().error(f"training failed: {error!r}")
            return _failure(TrainMemory.Result.INTERNAL, error)

    def _finish(self, handle: ServerGoalHandle, result: TrainMemory.Result) -> None:
        if result.error_code == TrainMemory.Result.NONE:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        self.get_logger().info(result.message)
        self._report.status(state="idle", last=result.message)

    def publish_progress(self, handle: ServerGoalHandle, feedback: TrainMemory.Feedback) -> None:
        """Send feedback to the client and the state to everyone."""
        if self.context.ok():
            handle.publish_feedback(feedback)
            self._report.status(state="training", stage=feedback.stage, fraction=round(feedback.fraction, 3))


class Job:
    """One training on behalf of one goal."""

    def __init__(self, handle: ServerGoalHandle, node: Trainer) -> None:
        self._handle = handle
        self._node = node
        self._start = time.monotonic()
        self._last = (0.0, "")

    def run(self, settings: TrainerSettings) -> TrainMemory.Result:
        """Train and describe the result."""
        from m3_ros.training.pipeline import train

        goal: Any = self._handle.request
        recording = _recording(goal.recording_url)
        memory = local_path(goal.memory_url) if goal.memory_url else recording.with_suffix(".m3")
        chosen = training_settings(settings, goal.preset, goal.encoders, goal.resume)
        report = train(recording, memory, chosen, self._progress, self._cancelled)
        return TrainMemory.Result(
            message=f"memory of {report.gaussians} Gaussians written to {report.memory_path} in {report.seconds:.0f} s",
            memory_url=str(report.memory_path),
            psnr_db=float(report.psnr_db),
            gaussians=report.gaussians,
            seconds=report.seconds,
        )

    def _cancelled(self) -> bool:
        return bool(self._handle.is_cancel_requested) or not self._node.context.ok()

    def _progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._last[1] and now - self._last[0] < FEEDBACK_PERIOD_S:
            return
        self._last = (now, progress.stage)
        fraction = overall_fraction(progress)
        eta_s = (now - self._start) * (1 - fraction) / fraction if fraction > 0.02 else nan
        feedback = TrainMemory.Feedback(
            stage=progress.stage, fraction=fraction, eta_s=eta_s, gaussians=progress.gaussians
        )
        feedback.psnr_db = float(progress.psnr_db)
        self._node.publish_progress(self._handle, feedback)


def _recording(url: str) -> Path:
    try:
        path = local_path(url)
    except M3Error as error:
        raise RecordingError(f"recording_url: {error}") from error
    if not path.exists():
        raise RecordingError(
            f"there is no recording {path}: give the folder or file of a bag, or a folder with transforms.json"
        )
    return path


def _failure(code: int, error: Exception) -> TrainMemory.Result:
    return TrainMemory.Result(error_code=code, message=str(error) or repr(error), psnr_db=nan)


def main(args: list[str] | None = None) -> int:
    """Run the trainer node."""
    return run(Trainer, args, threads=3)


if __name__ == "__main__":
    sys.exit(main())
