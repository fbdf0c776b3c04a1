#![no_main]

use gild_fuzz::targets::sums::check_input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| check_input(input));
