//! A ticket as a code for a camera.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The code, in characters of half a line; `None` if the text is too long for one.
pub fn drawn(text: &str) -> Option<String> {
    // A screen is read without damage: the least correction makes the smallest code.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}
