//! Channels as a column: their names, one a line, or NULL where there are none.

use crate::error::{Result, StoreError};
use stentor_domain::channels::Channels;

pub(crate) fn channels_text(channels: &Channels) -> Option<String> {
    (!channels.is_empty()).then(|| channels.texts().join("\n"))
}

pub(crate) fn read_channels(text: Option<&str>) -> Result<Channels> {
    let texts: Vec<&str> = text.unwrap_or_default().lines().collect();
    Channels::parse(&texts).map_err(|(_, rule)| StoreError::Unreadable(format!("channels: {rule}")))
}
