//! The keys of CURVE for the sockets of one run. The detector is CURVE's server, whichever side binds.

use std::fmt;

use curve25519_dalek::MontgomeryPoint;
use framegate_plugin_api::SourceError;
use zmq::Socket;

use crate::{curve, settings::ZmqSettings};

/// The detector's public key and our own pair.
pub(crate) struct Keys {
    server: curve::Key,
    public: curve::Key,
    secret: curve::Key,
}

impl Keys {
    /// Reads the file of the secret key; `None` if the settings have no keys.
    pub(crate) fn read(settings: &ZmqSettings) -> Result<Option<Self>, SourceError> {
        let (Some(server), Some(file)) = (&settings.curve_server_key, &settings.curve_secret_key_file) else {
            return Ok(None);
        };
        let server = curve::server_key(server).map_err(SourceError::settings)?;
        let secret = curve::secret_key(file).map_err(SourceError::connect)?;
        Ok(Some(Self { server, public: public(secret), secret }))
    }

    /// Must be called before the socket connects or is bound.
    pub(crate) fn set(&self, socket: &Socket) -> zmq::Result<()> {
        socket.set_curve_serverkey(&self.server)?;
        socket.set_curve_publickey(&self.public)?;
        socket.set_curve_secretkey(&self.secret)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Whether the libzmq in this file has CURVE.
pub(crate) fn has_curve() -> bool {
    zmq::has("curve") == Some(true)
}

/// The public key of a secret key, as `zmq_curve_public` computes it, which the crate `zmq` does not offer.
fn public(secret: curve::Key) -> curve::Key {
    MontgomeryPoint::mul_base_clamped(secret).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_follows_from_the_secret_one() {
        // The pairs of the client and of the server in zmq_curve(7).
        for (public_key, secret_key) in [
            ("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"),
            ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"),
        ] {
            let decoded = |text| curve::server_key(text).unwrap();
            assert_eq!(public(decoded(secret_key)), decoded(public_key));
        }
    }

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let keys = Keys { server: [1; 32], public: [2; 32], secret: [3; 32] };
        assert_eq!(format!("{keys:?}"), "Keys { .. }");
    }
}
