//! Keys of the elliptic curves P-256, P-384 and P-521.

use p256::NistP256;
use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::{EncodedPoint, FromEncodedPoint, ModulusSize, ToEncodedPoint};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey};
use p384::NistP384;
use p521::NistP521;
use rsa::rand_core::OsRng;
use zeroize::Zeroizing;

use crate::asn1::{BIT_STRING, OCTET_STRING, OID, Reader, SEQUENCE};
use crate::{Error, Result};

/// A curve (FIPS 186-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Returns the curve of an object identifier (RFC 5480, section 2.1.1.1).
    pub(super) fn of_oid(oid: &[u8]) -> Result<Self> {
        match oid {
            b"\x2a\x86\x48\xce\x3d\x03\x01\x07" => Ok(Self::P256),
            b"\x2b\x81\x04\x00\x22" => Ok(Self::P384),
            b"\x2b\x81\x04\x00\x23" => Ok(Self::P521),
            _ => Err(Error::key("its curve is not supported; P-256, P-384 and P-521 are")),
        }
    }

    /// Returns the name in a JWK (RFC 7518, section 6.2.1.1).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// Returns the length of a coordinate in bytes.
    pub(crate) fn coordinate(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

#[derive(Clone)]
pub(crate) enum EcPublicKey {
    P256(PublicKey<NistP256>),
    P384(PublicKey<NistP384>),
    P521(PublicKey<NistP521>),
}

#[derive(Clone)]
pub(crate) enum EcSecretKey {
    P256(SecretKey<NistP256>),
    P384(SecretKey<NistP384>),
    P521(SecretKey<NistP521>),
}

impl EcPublicKey {
    /// Reads a point (SEC 1, section 2.3.4), which must be on the curve.
    pub(crate) fn from_point(curve: Curve, point: &[u8]) -> Result<Self> {
        Ok(match curve {
            Curve::P256 => Self::P256(read_point(point)?),
            Curve::P384 => Self::P384(read_point(point)?),
            Curve::P521 => Self::P521(read_point(point)?),
        })
    }

    /// Returns the key with two coordinates, each of the curve's length.
    pub(crate) fn from_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self> {
        if x.len() != curve.coordinate() || y.len() != curve.coordinate() {
            return Err(off_curve());
        }
        Self::from_point(curve, &[&[4], x, y].concat())
    }

    pub(crate) fn curve(&self) -> Curve {
        match self {
            Self::P256(_) => Curve::P256,
            Self::P384(_) => Curve::P384,
            Self::P521(_) => Curve::P521,
        }
    }

    /// Returns both coordinates.
    pub(crate) fn coordinates(&self) -> (Vec<u8>, Vec<u8>) {
        let point = match self {
            Self::P256(key) => key.to_encoded_point(false).as_bytes().to_vec(),
            Self::P384(key) => key.to_encoded_point(false).as_bytes().to_vec(),
            Self::P521(key) => key.to_encoded_point(false).as_bytes().to_vec(),
        };
        let (x, y) = point[1..].split_at(self.curve().coordinate());
        (x.to_vec(), y.to_vec())
    }
}

impl EcSecretKey {
    pub(crate) fn generate(curve: Curve) -> Self {
        match curve {
            Curve::P256 => Self::P256(SecretKey::random(&mut OsRng)),
            Curve::P384 => Self::P384(SecretKey::random(&mut OsRng)),
            Curve::P521 => Self::P521(SecretKey::random(&mut OsRng)),
        }
    }

    /// Returns the key of a number. Leading zeros may be missing or additional.
    pub(crate) fn from_number(curve: Curve, number: &[u8]) -> Result<Self> {
        let number = crate::asn1::without_zeros(number);
        let length = curve.coordinate();
        let missing = length.checked_sub(number.len()).ok_or_else(out_of_range)?;
        let mut padded = Zeroizing::new(vec![0; length]);
        padded[missing..].copy_from_slice(number);
        Ok(match curve {
            Curve::P256 => Self::P256(SecretKey::from_slice(&padded).map_err(|_| out_of_range())?),
            Curve::P384 => Self::P384(SecretKey::from_slice(&padded).map_err(|_| out_of_range())?),
            Curve::P521 => Self::P521(SecretKey::from_slice(&padded).map_err(|_| out_of_range())?),
        })
    }

    /// Reads an `ECPrivateKey` (RFC 5915). Its curve may be stated elsewhere.
    pub(super) fn read(der: &[u8], curve: Option<Curve>) -> Result<Self> {
        const PARAMETERS: u8 = 0xa0;
        let mut fields = Reader::new(der).inside(SEQUENCE)?;
        if fields.unsigned()? != [1] {
            return Err(crate::asn1::malformed());
        }
        let number = fields.content(OCTET_STRING)?;
        let own = match fields.peek() {
            Some(PARAMETERS) => Some(Curve::of_oid(fields.inside(PARAMETERS)?.content(OID)?)?),
            _ => None,
        };
        let curve = own.or(curve).ok_or_else(|| Error::key("it does not name its curve"))?;
        Self::from_number(curve, number)
    }

    pub(crate) fn public(&self) -> EcPublicKey {
        match self {
            Self::P256(key) => EcPublicKey::P256(key.public_key()),
            Self::P384(key) => EcPublicKey::P384(key.public_key()),
            Self::P521(key) => EcPublicKey::P521(key.public_key()),
        }
    }

    /// Returns the shared secret with a public key (SEC 1, section 3.3.1). `None` if that is on another curve.
    pub(crate) fn agree(&self, public: &EcPublicKey) -> Option<Zeroizing<Vec<u8>>> {
        match (self, public) {
            (Self::P256(own), EcPublicKey::P256(other)) => Some(agree(own, other)),
            (Self::P384(own), EcPublicKey::P384(other)) => Some(agree(own, other)),
            (Self::P521(own), EcPublicKey::P521(other)) => Some(agree(own, other)),
            _ => None,
        }
    }
}

/// Reads the `subjectPublicKey` of a key on a curve.
pub(super) fn read_public(parameters: &mut Reader<'_>, bits: &[u8]) -> Result<EcPublicKey> {
    EcPublicKey::from_point(Curve::of_oid(parameters.content(OID)?)?, bits)
}

/// Returns the whole bytes of a bit string.
pub(super) fn bit_string<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    match reader.content(BIT_STRING)?.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(crate::asn1::malformed()),
    }
}

fn read_point<C>(point: &[u8]) -> Result<PublicKey<C>>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromEncodedPoint<C> + ToEncodedPoint<C>,
{
    let point = EncodedPoint::<C>::from_bytes(point).map_err(|_| off_curve())?;
    Option::from(PublicKey::from_encoded_point(&point)).ok_or_else(off_curve)
}

fn agree<C: CurveArithmetic>(own: &SecretKey<C>, other: &PublicKey<C>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(diffie_hellman(own.to_nonzero_scalar(), other.as_affine()).raw_secret_bytes().to_vec())
}

fn off_curve() -> Error {
    Error::key("it is no point of its curve")
}

fn out_of_range() -> Error {
    Error::key("its number is out of the range of its curve")
}
