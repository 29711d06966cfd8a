"""The graph of m3_ros with a simulated robot instead of a real one, and RViz if wanted.

ros2 launch m3_ros demo.launch.py rviz:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from m3_ros.sim.layout import DEMO_SEED

SHARE = FindPackageShare("m3_ros")
SHARED = (
    ("namespace", "m3", "Namespace of all nodes, topics and services of m3_ros."),
    ("params_file", PathJoinSubstitution([SHARE, "config", "memory.yaml"]), "Parameters of all nodes."),
    ("use_sim_time", "false", "Follow the simulator's /clock, which it then publishes."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
    ("memory_path", "", "Folder of the memory to load at the start; empty: wait for load_memory."),
    ("bag_path", "", "Folder of the bag to record; empty: recordings/<time> below the working directory."),
    ("record", "true", "Record the patrol."),
)
"""Arguments handed on to memory.launch.py: name, default, description."""
OWN = (
    ("seed", str(DEMO_SEED), "Chooses the simulated room."),
    ("rate_hz", "15.0", "Pictures per second."),
    ("time_scale", "1.0", "Simulated seconds per second."),
    ("rviz", "false", "Start RViz with the robot, its camera and the memory's answers."),
)
"""Arguments of the simulator and RViz: name, default, description."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start memory.launch.py, the simulator and RViz."""
    sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    simulator = Node(
        package="m3_ros",
        executable="simulator",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "publish_clock": sim_time,
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "rate_hz": ParameterValue(LaunchConfiguration("rate_hz"), value_type=float),
                "time_scale": ParameterValue(LaunchConfiguration("time_scale"), value_type=float),
            },
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
    )
    graph = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "memory.launch.py"])),
        launch_arguments={name: LaunchConfiguration(name) for name, _, _ in SHARED}.items(),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "demo.rviz"])],
        parameters=[{"use_sim_time": sim_time}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=words) for name, value, words in (*SHARED, *OWN)
    ]
    return LaunchDescription([*declared, graph, simulator, rviz])
