#![no_main]

use gild_fuzz::targets::signed_order::check_input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| check_input(input));
