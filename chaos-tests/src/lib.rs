//! Real berth processes under kill, pause, partition and full disks.
