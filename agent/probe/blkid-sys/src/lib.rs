//! The functions and opaque types of libblkid that the `blkid` crate calls, declared by hand from `blkid/blkid.h`.
//!
//! Stands in for the published crate of the same name, which runs bindgen (and so libclang) at build time.
#![no_std]
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_ulonglong};

macro_rules! opaque {
    ($($name:ident)*) => {
        $(pub type $name = *mut core::ffi::c_void;)*
    };
}

opaque! {
    blkid_cache
    blkid_dev
    blkid_dev_iterate
    blkid_partition
    blkid_partlist
    blkid_parttable
    blkid_probe
    blkid_tag_iterate
    blkid_topology
}

unsafe extern "C" {
    pub fn blkid_put_cache(cache: blkid_cache);
    pub fn blkid_get_cache(cache: *mut blkid_cache, filename: *const c_char) -> c_int;
    pub fn blkid_gc_cache(cache: blkid_cache);
    pub fn blkid_dev_devname(dev: blkid_dev) -> *const c_char;
    pub fn blkid_dev_iterate_begin(cache: blkid_cache) -> blkid_dev_iterate;
    pub fn blkid_dev_next(iterate: blkid_dev_iterate, dev: *mut blkid_dev) -> c_int;
    pub fn blkid_dev_iterate_end(iterate: blkid_dev_iterate);
    pub fn blkid_probe_all(cache: blkid_cache) -> c_int;
    pub fn blkid_probe_all_new(cache: blkid_cache) -> c_int;
    pub fn blkid_probe_all_removable(cache: blkid_cache) -> c_int;
    pub fn blkid_get_dev(cache: blkid_cache, devname: *const c_char, flags: c_int) -> blkid_dev;
    pub fn blkid_verify(cache: blkid_cache, dev: blkid_dev) -> blkid_dev;
    pub fn blkid_get_tag_value(
        cache: blkid_cache,
        tagname: *const c_char,
        devname: *const c_char,
    ) -> *mut c_char;
    pub fn blkid_tag_iterate_begin(dev: blkid_dev) -> blkid_tag_iterate;
    pub fn blkid_tag_next(
        iterate: blkid_tag_iterate,
        kind: *mut *const c_char,
        value: *mut *const c_char,
    ) -> c_int;
    pub fn blkid_tag_iterate_end(iterate: blkid_tag_iterate);
    pub fn blkid_find_dev_with_tag(
        cache: blkid_cache,
        kind: *const c_char,
        value: *const c_char,
    ) -> blkid_dev;
    pub fn blkid_new_probe() -> blkid_probe;
    pub fn blkid_new_probe_from_filename(filename: *const c_char) -> blkid_probe;
    pub fn blkid_free_probe(pr: blkid_probe);
    pub fn blkid_reset_probe(pr: blkid_probe);
    pub fn blkid_probe_reset_buffers(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_hide_range(pr: blkid_probe, off: u64, len: u64) -> c_int;
    pub fn blkid_probe_set_device(pr: blkid_probe, fd: c_int, off: i64, size: i64) -> c_int;
    pub fn blkid_probe_get_devno(pr: blkid_probe) -> u64;
    pub fn blkid_probe_get_wholedisk_devno(pr: blkid_probe) -> u64;
    pub fn blkid_probe_is_wholedisk(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_get_size(pr: blkid_probe) -> i64;
    pub fn blkid_probe_get_offset(pr: blkid_probe) -> i64;
    pub fn blkid_probe_get_sectorsize(pr: blkid_probe) -> c_uint;
    pub fn blkid_probe_set_sectorsize(pr: blkid_probe, sz: c_uint) -> c_int;
    pub fn blkid_probe_get_sectors(pr: blkid_probe) -> i64;
    pub fn blkid_probe_get_fd(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_set_hint(pr: blkid_probe, name: *const c_char, value: u64) -> c_int;
    pub fn blkid_probe_reset_hints(pr: blkid_probe);
    pub fn blkid_known_fstype(fstype: *const c_char) -> c_int;
    pub fn blkid_probe_enable_superblocks(pr: blkid_probe, enable: c_int) -> c_int;
    pub fn blkid_probe_set_superblocks_flags(pr: blkid_probe, flags: c_int) -> c_int;
    pub fn blkid_probe_reset_superblocks_filter(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_invert_superblocks_filter(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_enable_topology(pr: blkid_probe, enable: c_int) -> c_int;
    pub fn blkid_probe_get_topology(pr: blkid_probe) -> blkid_topology;
    pub fn blkid_topology_get_alignment_offset(tp: blkid_topology) -> c_ulong;
    pub fn blkid_topology_get_minimum_io_size(tp: blkid_topology) -> c_ulong;
    pub fn blkid_topology_get_optimal_io_size(tp: blkid_topology) -> c_ulong;
    pub fn blkid_topology_get_logical_sector_size(tp: blkid_topology) -> c_ulong;
    pub fn blkid_topology_get_physical_sector_size(tp: blkid_topology) -> c_ulong;
    pub fn blkid_topology_get_dax(tp: blkid_topology) -> c_ulong;
    pub fn blkid_known_pttype(pttype: *const c_char) -> c_int;
    pub fn blkid_partitions_get_name(idx: usize, name: *mut *const c_char) -> c_int;
    pub fn blkid_probe_enable_partitions(pr: blkid_probe, enable: c_int) -> c_int;
    pub fn blkid_probe_reset_partitions_filter(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_invert_partitions_filter(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_set_partitions_flags(pr: blkid_probe, flags: c_int) -> c_int;
    pub fn blkid_probe_get_partitions(pr: blkid_probe) -> blkid_partlist;
    pub fn blkid_partlist_numof_partitions(ls: blkid_partlist) -> c_int;
    pub fn blkid_partlist_get_table(ls: blkid_partlist) -> blkid_parttable;
    pub fn blkid_partlist_get_partition(ls: blkid_partlist, n: c_int) -> blkid_partition;
    pub fn blkid_partlist_get_partition_by_partno(ls: blkid_partlist, n: c_int) -> blkid_partition;
    pub fn blkid_partlist_devno_to_partition(ls: blkid_partlist, devno: u64) -> blkid_partition;
    pub fn blkid_partition_get_table(par: blkid_partition) -> blkid_parttable;
    pub fn blkid_partition_get_name(par: blkid_partition) -> *const c_char;
    pub fn blkid_partition_get_uuid(par: blkid_partition) -> *const c_char;
    pub fn blkid_partition_get_partno(par: blkid_partition) -> c_int;
    pub fn blkid_partition_get_start(par: blkid_partition) -> i64;
    pub fn blkid_partition_get_size(par: blkid_partition) -> i64;
    pub fn blkid_partition_get_type(par: blkid_partition) -> c_int;
    pub fn blkid_partition_get_type_string(par: blkid_partition) -> *const c_char;
    pub fn blkid_partition_get_flags(par: blkid_partition) -> c_ulonglong;
    pub fn blkid_partition_is_logical(par: blkid_partition) -> c_int;
    pub fn blkid_partition_is_extended(par: blkid_partition) -> c_int;
    pub fn blkid_partition_is_primary(par: blkid_partition) -> c_int;
    pub fn blkid_parttable_get_type(tab: blkid_parttable) -> *const c_char;
    pub fn blkid_parttable_get_id(tab: blkid_parttable) -> *const c_char;
    pub fn blkid_parttable_get_offset(tab: blkid_parttable) -> i64;
    pub fn blkid_parttable_get_parent(tab: blkid_parttable) -> blkid_partition;
    pub fn blkid_do_probe(pr: blkid_probe) -> c_int;
    pub fn blkid_do_safeprobe(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_numof_values(pr: blkid_probe) -> c_int;
    pub fn blkid_probe_get_value(
        pr: blkid_probe,
        num: c_int,
        name: *mut *const c_char,
        data: *mut *const c_char,
        len: *mut usize,
    ) -> c_int;
    pub fn blkid_probe_lookup_value(
        pr: blkid_probe,
        name: *const c_char,
        data: *mut *const c_char,
        len: *mut usize,
    ) -> c_int;
    pub fn blkid_probe_has_value(pr: blkid_probe, name: *const c_char) -> c_int;
    pub fn blkid_do_wipe(pr: blkid_probe, dryrun: c_int) -> c_int;
    pub fn blkid_probe_step_back(pr: blkid_probe) -> c_int;
}
