//! The chat as people use it: in terminals, with keys and screens.

mod screens;
mod story;
