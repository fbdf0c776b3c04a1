//! An NFSv3 file reader with time-outs, reconnection and several reads in flight.
