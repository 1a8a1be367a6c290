"""Turns off what a device leaves to hardware: Open vSwitch's userspace datapath hands frames on as it reads them, so checksums must be
finished and segments small before. By ioctl (SIOCETHTOOL of <linux/ethtool.h>), since a process for each device costs more than the
device itself.
"""

import ctypes
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946
SET_TX_CHECKSUM, SET_TSO, SET_GSO, SET_GRO = 0x17, 0x1F, 0x24, 0x2C
"""ETHTOOL_S…; without checksums of its own, a device does no segments either."""


def turn_off(name: str) -> None:
    """For a device of the calling thread's namespace. What it cannot turn off, it does not have."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for command in (SET_TX_CHECKSUM, SET_TSO, SET_GSO, SET_GRO):
            value = (ctypes.c_uint32 * 2)(command, 0)
            request = struct.pack("16sP", name.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(asking, SIOCETHTOOL, request)
            except OSError:
                continue
