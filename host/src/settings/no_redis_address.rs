//! In place of `redis_address`, without the feature `redis`: no address is used, so none is checked.

pub(super) fn is_tls(_: &str) -> bool {
    false
}

pub(super) fn has_password(_: &str) -> bool {
    false
}

pub(super) fn check(_: &str) -> Result<(), String> {
    Ok(())
}
