//! Tests of the client, with servers on the other end of a cable between two network namespaces.
//!
//! Real: the client's sockets, the kernel's network, dnsmasq and Kea from Debian. Scripted: a server that says what those two
//! never say.

mod dnsmasq;
mod kea;
mod lan;
mod program;
mod script;
