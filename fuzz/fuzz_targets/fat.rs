#![no_main]

use gild_fuzz::targets::fat::check_input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check_input(input));
