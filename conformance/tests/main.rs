//! The suite, tested: that it checks what the contracts say.

mod sentences;
