//! What libblkid sees on a disk, as plain owned structs.
