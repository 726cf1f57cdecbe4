"""Resource limits and accounting through cgroup v1 and v2, behind one `CgroupManager`."""
