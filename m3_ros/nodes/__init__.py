"""The ROS 2 nodes, and the only room that imports ROS: a callback converts, makes one core call, and publishes.

Every node is a module with a `main()`: `python -m m3_ros.nodes.memory --ros-args -p memory_path:=/tmp/home.m3`.
"""
