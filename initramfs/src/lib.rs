//! Kernel modules and the agent, packed into the flasher's initramfs.
