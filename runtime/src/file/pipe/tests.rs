use super::*;
use crate::testing::{MEMORY, system};

fn write(end: &PipeEnd, bytes: &[u8]) -> Result {
    end.write(0, &mut Input::kernel(bytes))
}

fn read(end: &PipeEnd, length: usize) -> Result<alloc::vec::Vec<u8>> {
    let mut bytes = alloc::vec![0; length];
    let done = end.read(0, &mut Output::kernel(&mut bytes))?;
    bytes.truncate(done);
    Ok(bytes)
}

#[test]
fn bytes_come_out_in_their_order() {
    let _system = system();
    let (reader, writer) = new();
    assert_eq!(read(&reader, 10), Err(Errno::AGAIN));
    assert_eq!(write(&writer, b"hello"), Ok(5));
    assert_eq!(write(&writer, b" you"), Ok(4));
    assert_eq!(read(&reader, 7).unwrap(), b"hello y");
    assert_eq!(read(&reader, 7).unwrap(), b"ou");
    assert_eq!(read(&reader, 0).unwrap(), b"");
    assert_eq!(write(&reader, b"x"), Err(Errno::BADF));
    assert_eq!(read(&writer, 1), Err(Errno::BADF));
}

#[test]
fn a_full_pipe_takes_small_writes_as_a_whole_or_not() {
    let _system = system();
    let (reader, writer) = new();
    assert_eq!(write(&writer, &[1; 100_000]), Ok(CAPACITY));
    assert_eq!(write(&writer, b"x"), Err(Errno::AGAIN));
    assert!(!writer.ready().contains(Events::OUT));
    read(&reader, 1000).unwrap();
    assert_eq!(write(&writer, &[2; 1001]), Err(Errno::AGAIN));
    assert_eq!(write(&writer, &[2; 1000]), Ok(1000));
    read(&reader, 1000).unwrap();
    assert_eq!(write(&writer, &[3; 5000]), Ok(1000), "large ones in parts");
    assert_eq!(reader.set_capacity(4096), Err(Errno::BUSY));
    assert_eq!(reader.set_capacity(2 << 20), Err(Errno::PERM));
    assert_eq!(reader.set_capacity(100_000), Ok(131_072));
    assert_eq!(write(&writer, &[3; 200_000]), Ok(131_072 - CAPACITY));
}

#[test]
fn the_ends_notice_that_the_other_is_gone() {
    let system = system();
    let (reader, writer) = new();
    write(&writer, b"rest").unwrap();
    drop(writer);
    assert!(reader.ready().contains(Events::IN | Events::HANG_UP));
    assert_eq!(read(&reader, 10).unwrap(), b"rest");
    assert_eq!(read(&reader, 10).unwrap(), b"");
    let (reader, writer) = new();
    drop(reader);
    assert!(writer.ready().contains(Events::ERROR));
    assert_eq!(write(&writer, b"x"), Err(Errno::PIPE));
    assert_ne!(system.process.pending.set() & Signal::PIPE.bit(), 0);
    system.process.pending.remove(u64::MAX);
}

#[test]
fn memory_that_is_not_there_takes_nothing_out() {
    let _system = system();
    let (reader, writer) = new();
    write(&writer, b"kept").unwrap();
    assert_eq!(reader.read(0, &mut Output::user(0, 4)), Err(Errno::FAULT));
    assert_eq!(writer.write(0, &mut Input::user(0, 4)), Err(Errno::FAULT));
    assert_eq!(reader.read(0, &mut Output::user(MEMORY, 4)), Ok(4));
    let mut bytes = [0; 4];
    user::read_bytes(MEMORY, &mut bytes).unwrap();
    assert_eq!(&bytes, b"kept");
}

#[test]
fn a_named_pipe_without_the_other_side() {
    let _system = system();
    let pipe = Pipe::new();
    let node: Rc<dyn Node> = crate::fs::memory::new_file(0o600);
    let how = |read, write| OpenHow {
        read,
        write,
        no_wait: true,
    };
    let failed = open_named(&pipe, node.clone(), how(false, true));
    assert_eq!(failed.err(), Some(Errno::NXIO));
    let reader = open_named(&pipe, node.clone(), how(true, false)).unwrap();
    assert!(open_named(&pipe, node.clone(), how(false, true)).is_ok());
    assert!(open_named(&pipe, node, how(true, true)).is_ok());
    drop(reader);
    assert_eq!((pipe.readers.get(), pipe.writers.get()), (0, 0));
}
