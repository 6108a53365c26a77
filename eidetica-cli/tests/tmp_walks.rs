#![allow(dead_code)]
mod kit;
mod walks;
