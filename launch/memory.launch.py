"""The graph of m3_ros beside a robot's own drivers: recorder, trainer, memory and navigator.

ros2 launch m3_ros memory.launch.py memory_path:=/home/robot/house.m3
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = (
    ("namespace", "m3", "Namespace of all nodes, topics and services of m3_ros; camera and TF topics are parameters."),
    (
        "params_file",
        PathJoinSubstitution([FindPackageShare("m3_ros"), "config", "memory.yaml"]),
        "Parameters of all nodes.",
    ),
    ("use_sim_time", "false", "Follow /clock, as with a simulator or `ros2 bag play --clock`."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
    ("memory_path", "", "Folder of the memory to load at the start; empty: wait for load_memory."),
    ("bag_path", "", "Folder of the bag to record; empty: recordings/<time> below the working directory."),
    ("record", "false", "Record at once; otherwise the service recorder/start begins a recording."),
    ("train", "true", "Start the trainer."),
    ("navigate", "true", "Start the navigator."),
)
"""Name, default and description of every launch argument."""


def node(name: str, parameters: dict[str, object], condition: str | None = None) -> Node:
    """Describe one node with the shared arguments and its own parameters."""
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    return Node(
        package="m3_ros",
        executable=name,
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[LaunchConfiguration("params_file"), {"use_sim_time": use_sim_time, **parameters}],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        condition=IfCondition(LaunchConfiguration(condition)) if condition else None,
    )


def text(argument: str) -> ParameterValue:
    """Return a launch argument as a string parameter, whatever it looks like."""
    return ParameterValue(LaunchConfiguration(argument), value_type=str)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    record = ParameterValue(LaunchConfiguration("record"), value_type=bool)
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=words) for name, value, words in ARGUMENTS),
            node("recorder", {"auto_start": record, "bag_path": text("bag_path")}),
            node("trainer", {}, condition="train"),
            node("memory", {"memory_path": text("memory_path")}),
            node("navigator", {}, condition="navigate"),
        ]
    )
