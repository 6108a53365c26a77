//! A ticket as a code for a camera.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// The code, in characters of half a line; `None` if the text is too long for one.
pub fn drawn(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}
