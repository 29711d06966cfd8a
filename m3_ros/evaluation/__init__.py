"""The pinned evaluator: metrics and judgements that every report uses."""

from m3_ros.evaluation.image_quality import psnr
from m3_ros.evaluation.localisation import Judgement, Truth, judge_position

__all__ = ["Judgement", "Truth", "judge_position", "psnr"]
