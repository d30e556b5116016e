//! Pickles as Python writes them, and malformed or hostile ones.

use super::machine::MAX_STEPS;
use super::*;

// pickle.dumps({"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [3, 250],
// "fine": np.array([1, -2], dtype=">i4"), "names": ["dog", "собака"]}, protocol=N)
const PROTOCOL_0: &[u8] =
    b"(dp0\nVdata\np1\ncnumpy._core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nc_codecs\nencode\np5\n(Vb\
    \np6\nVlatin1\np7\ntp8\nRp9\ntp10\nRp11\n(I1\n(I2\nI3\ntp12\ncnumpy\ndtype\np13\n(Vu1\np14\nI00\nI01\ntp15\nRp16\n(I3\
    \nV|\np17\nNNNI-1\nI-1\nI0\ntp18\nbI00\ng5\n(V\x5cu0000\x01\x02\x03\x04\x05\np19\ng7\ntp20\nRp21\ntp22\nbsVlabels\np23\
    \n(lp24\nI3\naI250\nasVfine\np25\ng2\n(g3\n(I0\ntp26\ng9\ntp27\nRp28\n(I1\n(I2\ntp29\ng13\n(Vi4\np30\nI00\nI01\ntp31\n\
    Rp32\n(I3\nV>\np33\nNNNI-1\nI-1\nI0\ntp34\nbI00\ng5\n(V\x5cu0000\x5cu0000\x5cu0000\x01\xff\xff\xff\xfe\np35\ng7\ntp36\
    \nRp37\ntp38\nbsVnames\np39\n(lp40\nVdog\np41\naV\x5cu0441\x5cu043e\x5cu0431\x5cu0430\x5cu043a\x5cu0430\np42\nas.";
const PROTOCOL_2: &[u8] =
    b"\x80\x02}q\x00(X\x04\x00\x00\x00dataq\x01cnumpy._core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\
    \x04c_codecs\nencode\nq\x05X\x01\x00\x00\x00bq\x06X\x06\x00\x00\x00latin1q\x07\x86q\x08Rq\x09\x87q\nRq\x0b(K\x01K\x02K\
    \x03\x86q\x0ccnumpy\ndtype\nq\x0dX\x02\x00\x00\x00u1q\x0e\x89\x88\x87q\x0fRq\x10(K\x03X\x01\x00\x00\x00|q\x11NNNJ\xff\
    \xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x12b\x89h\x05X\x06\x00\x00\x00\x00\x01\x02\x03\x04\x05q\x13h\x07\x86q\x14Rq\x15tq\
    \x16bX\x06\x00\x00\x00labelsq\x17]q\x18(K\x03K\xfaeX\x04\x00\x00\x00fineq\x19h\x02h\x03K\x00\x85q\x1ah\x09\x87q\x1bRq\
    \x1c(K\x01K\x02\x85q\x1dh\x0dX\x02\x00\x00\x00i4q\x1e\x89\x88\x87q\x1fRq (K\x03X\x01\x00\x00\x00>q!NNNJ\xff\xff\xff\
    \xffJ\xff\xff\xff\xffK\x00tq\x22b\x89h\x05X\x0c\x00\x00\x00\x00\x00\x00\x01\xc3\xbf\xc3\xbf\xc3\xbf\xc3\xbeq#h\x07\x86\
    q$Rq%tq&bX\x05\x00\x00\x00namesq']q((X\x03\x00\x00\x00dogq)X\x0c\x00\x00\x00\xd1\x81\xd0\xbe\xd0\xb1\xd0\xb0\xd0\xba\
    \xd0\xb0q*eu.";
const PROTOCOL_3: &[u8] =
    b"\x80\x03}q\x00(X\x04\x00\x00\x00dataq\x01cnumpy._core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\
    \x04C\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02K\x03\x86q\x08cnumpy\ndtype\nq\x09X\x02\x00\x00\x00u1q\n\x89\x88\x87q\x0bRq\
    \x0c(K\x03X\x01\x00\x00\x00|q\x0dNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89C\x06\x00\x01\x02\x03\x04\x05q\
    \x0ftq\x10bX\x06\x00\x00\x00labelsq\x11]q\x12(K\x03K\xfaeX\x04\x00\x00\x00fineq\x13h\x02h\x03K\x00\x85q\x14h\x05\x87q\
    \x15Rq\x16(K\x01K\x02\x85q\x17h\x09X\x02\x00\x00\x00i4q\x18\x89\x88\x87q\x19Rq\x1a(K\x03X\x01\x00\x00\x00>q\x1bNNNJ\
    \xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x1cb\x89C\x08\x00\x00\x00\x01\xff\xff\xff\xfeq\x1dtq\x1ebX\x05\x00\x00\x00nam\
    esq\x1f]q (X\x03\x00\x00\x00dogq!X\x0c\x00\x00\x00\xd1\x81\xd0\xbe\xd0\xb1\xd0\xb0\xd0\xba\xd0\xb0q\x22eu.";
const PROTOCOL_4: &[u8] =
    b"\x80\x04\x95\x1f\x01\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04data\x94\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstru\
    ct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94(K\x01K\x02K\x03\x86\x94\
    h\x05\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\
    \xffK\x00t\x94b\x89C\x06\x00\x01\x02\x03\x04\x05\x94t\x94b\x8c\x06labels\x94]\x94(K\x03K\xfae\x8c\x04fine\x94h\x04h\
    \x07K\x00\x85\x94h\x09\x87\x94R\x94(K\x01K\x02\x85\x94h\x0e\x8c\x02i4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01>\x94NNNJ\
    \xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x08\x00\x00\x00\x01\xff\xff\xff\xfe\x94t\x94b\x8c\x05names\x94]\x94(\
    \x8c\x03dog\x94\x8c\x0c\xd1\x81\xd0\xbe\xd0\xb1\xd0\xb0\xd0\xba\xd0\xb0\x94eu.";

#[test]
fn what_numpy_writes_is_read_in_every_protocol() {
    for bytes in [PROTOCOL_0, PROTOCOL_2, PROTOCOL_3, PROTOCOL_4] {
        let pickle = Pickle::read(bytes).unwrap();
        assert_eq!(pickle.byte_matrix("data").unwrap(), ([2, 3], [0, 1, 2, 3, 4, 5].as_slice()));
        assert_eq!(pickle.integers("labels").unwrap(), [3, 250]);
        assert_eq!(pickle.integers("fine").unwrap(), [1, -2]);
        assert_eq!(pickle.texts("names").unwrap(), ["dog", "собака"]);
        assert!(pickle.integers("data").is_err());
        assert!(pickle.integers("absent").unwrap_err().contains("absent"));
    }
}

#[test]
fn strings_of_python_2_are_bytes() {
    let pickle =
        Pickle::read(b"(dp1\nS'names'\np2\n(lp3\nS'a\\x41\\'\\\\\\n'\np4\naS\"b\"\nas.").unwrap();
    assert_eq!(pickle.texts("names").unwrap(), ["aA'\\\n", "b"]);
}

#[test]
fn nothing_that_could_run_is_accepted() {
    // An object whose __reduce__ returns (os.system, ("echo",)), and one made by instantiating a
    // class.
    let error = Pickle::read(b"\x80\x02}q\x00X\x04\x00\x00\x00dataq\x01cposix\nsystem\nq\x02X\x04\x00\x00\x00echoq\x03\x85q\x04Rq\x05s.");
    assert!(error.unwrap_err().contains("`posix.system`"));
    let error = Pickle::read(b"(S'echo'\nios\nsystem\n.").unwrap_err();
    assert!(error.contains("opcode 0x69"), "{error}");
    assert!(Pickle::read(b"\x80\x05N.").unwrap_err().contains("protocol 5"));
}

#[test]
fn every_beginning_of_a_pickle_is_an_error_and_no_flipped_byte_panics() {
    for bytes in [PROTOCOL_0, PROTOCOL_2, PROTOCOL_4] {
        for length in 0..bytes.len() {
            assert!(Pickle::read(&bytes[..length]).is_err(), "the first {length} bytes");
        }
        for at in 0..bytes.len() {
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= change;
                if let Ok(pickle) = Pickle::read(&bytes) {
                    let _either =
                        (pickle.byte_matrix("data").is_ok(), pickle.integers("fine").is_ok());
                }
            }
        }
    }
}

#[test]
fn a_few_bytes_do_not_become_many() {
    // A long text, encoded again and again.
    let mut bytes = b"\x80\x02c_codecs\nencode\nq\x00X".to_vec();
    bytes.extend(1_000_000u32.to_le_bytes());
    bytes.extend([b'a'; 1_000_000]);
    bytes.extend(b"X\x06\x00\x00\x00latin1\x86q\x01");
    bytes.extend(b"h\x00h\x01R0".repeat(100));
    bytes.extend(b"N.");
    assert!(Pickle::read(&bytes).unwrap_err().contains("more bytes than the file"));

    // A long text in a list again and again, and too many short ones.
    let list = |length: usize, times: usize| {
        let mut bytes = b"\x80\x02}X\x05\x00\x00\x00namesX".to_vec();
        bytes.extend((length as u32).to_le_bytes());
        bytes.extend(vec![b'a'; length]);
        bytes.extend(b"q\x000](");
        bytes.extend(b"h\x00".repeat(times));
        bytes.extend(b"es.");
        Pickle::read(&bytes).unwrap().texts("names").map(|names| names.len())
    };
    assert_eq!(list(1000, 1000), Ok(1000));
    assert!(list(1001, 1).unwrap_err().contains("more than 1000 bytes"));
    assert!(list(1, 1001).unwrap_err().contains("more than 1000 names"));

    // A long name of an element type.
    let mut bytes = b"\x80\x02cnumpy\ndtype\nX".to_vec();
    bytes.extend(1000u32.to_le_bytes());
    bytes.extend([b'a'; 1000]);
    bytes.extend(b"\x85R.");
    assert!(Pickle::read(&bytes).unwrap_err().contains("no known kind"));
}

#[test]
fn a_list_of_no_pairs_made_an_ordered_dictionary_again_and_again_counts_each_time() {
    // A list of numbers, and the class: both are named by two bytes from then on.
    let mut bytes = b"\x80\x02]q\x00(".to_vec();
    bytes.extend(b"K\x01".repeat(20_000));
    bytes.extend(b"e0ccollections\nOrderedDict\nq\x010");
    bytes.extend(b"h\x01h\x00\x85R0".repeat(20_000));
    bytes.extend(b"N.");
    let refused = Pickle::read_first(&bytes, Dialect::Torch).map(drop).unwrap_err();
    assert!(refused.contains("steps") || refused.contains("values"), "{refused}");
    let mut few = bytes[..bytes.len() - 2 - 7 * 19_999].to_vec();
    few.extend(b"N.");
    assert!(Pickle::read_first(&few, Dialect::Torch).is_ok());
}

#[test]
fn the_stack_does_not_grow_without_end() {
    for code in [b'(', b'2'] {
        let mut bytes = b"\x80\x02N".to_vec();
        bytes.resize(MAX_STEPS + 10, code);
        bytes.push(b'.');
        assert!(Pickle::read(&bytes).unwrap_err().contains("more than"));
    }
}
