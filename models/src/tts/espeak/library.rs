//! The C library `libespeak-ng`: opened at run time, one a process, on a thread of its own.
//!
//! All of its state is global, so that one thread owns it and the others send that thread their work. Functions, numbers and layouts
//! are those of `speak_lib.h`, revision 12 (eSpeak NG 1.49 and later).

use std::ffi::{CStr, CString, c_char, c_int, c_short, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::mpsc::{self, SyncSender};

use audio::{Rate, Samples};

use super::failed;
use crate::ModelError;

/// The library's file, as the system's loader finds it.
const FILE: &str = if cfg!(target_os = "macos") { "libespeak-ng.1.dylib" } else { "libespeak-ng.so.1" };
/// Work that may wait for the library's thread; a sender beyond that waits too. Each clause takes about a millisecond.
const QUEUE: usize = 64;

/// `AUDIO_OUTPUT_SYNCHRONOUS`: a call returns when the last sound has been given to the callback.
const SYNCHRONOUS: c_int = 2;
/// `espeakINITIALIZE_DONT_EXIT`: missing data is an error, not the end of the process.
const DONT_EXIT: c_int = 0x8000;
/// `espeakCHARS_UTF8`.
const UTF8: c_uint = 1;
/// `POS_CHARACTER`.
const BY_CHARACTER: c_int = 1;
/// `espeakRATE`, in words a minute.
const RATE: c_int = 1;
/// `espeakEVENT_LIST_TERMINATED`.
const NO_EVENT: c_int = 0;
/// `espeakEVENT_WORD`.
const WORD: c_int = 1;
/// Phonemes in IPA, with `^` between the letters of one sound (`phoneme_mode` of `espeak_TextToPhonemes`).
#[cfg(feature = "kokoro")]
const IPA_TIED: c_int = 0x02 | 0x80 | ((b'^' as c_int) << 8);

/// `espeak_EVENT`.
#[repr(C)]
struct Event {
    kind: c_int,
    identifier: c_uint,
    /// Characters before it, counted from 1.
    text_position: c_int,
    length: c_int,
    /// Milliseconds from the start of the sound.
    audio_position: c_int,
    sample: c_int,
    user_data: *mut c_void,
    /// A union of a number, a pointer and eight characters.
    id: u64,
}

/// The head of `espeak_VOICE`; only pointers to it are ever held.
#[repr(C)]
struct VoiceEntry {
    name: *const c_char,
    /// Pairs of a byte of priority and a language code that ends in 0; a priority of 0 ends them.
    languages: *const c_char,
    identifier: *const c_char,
}

type Callback = unsafe extern "C" fn(*mut c_short, c_int, *mut Event) -> c_int;

/// A voice of the library.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Code of its first language, such as `pt-br`.
    pub(super) code: String,
    /// What the library knows it by.
    identifier: CString,
}

/// Sound and the words in it: the place of each in the text, in characters from 0, and its first sample.
#[derive(Default)]
pub(super) struct Spoken {
    pub(super) pcm: Vec<f32>,
    pub(super) words: Vec<(usize, Samples)>,
}

/// The library, opened: the functions we call.
pub(super) struct Library {
    synthesize: unsafe extern "C" fn(*const c_void, usize, c_uint, c_int, c_uint, c_uint, *mut c_uint, *mut c_void) -> c_int,
    set_voice: unsafe extern "C" fn(*const c_char) -> c_int,
    set_parameter: unsafe extern "C" fn(c_int, c_int, c_int) -> c_int,
    #[cfg(feature = "kokoro")]
    to_phonemes: unsafe extern "C" fn(*mut *const c_void, c_int, c_int) -> *const c_char,
    rate: Rate,
    voices: Vec<Entry>,
    /// Last, for the functions above are its.
    _file: libloading::Library,
}

impl Library {
    #[expect(unsafe_code, reason = "a C library: its functions have the types of its header, and this thread alone calls them")]
    fn open() -> Result<Library, ModelError> {
        let broken = |error: libloading::Error| failed(format!("this {FILE} is not eSpeak NG: {error}"));
        unsafe {
            let file = libloading::Library::new(FILE).map_err(|error| {
                failed(format!(
                    "{error}; install eSpeak NG (on Debian and Ubuntu: apt install libespeak-ng1) or choose another voice.synthesizer"
                ))
            })?;
            let initialize =
                *file.get::<unsafe extern "C" fn(c_int, c_int, *const c_char, c_int) -> c_int>(b"espeak_Initialize\0").map_err(broken)?;
            let set_callback = *file.get::<unsafe extern "C" fn(Callback)>(b"espeak_SetSynthCallback\0").map_err(broken)?;
            let list =
                *file.get::<unsafe extern "C" fn(*mut VoiceEntry) -> *const *const VoiceEntry>(b"espeak_ListVoices\0").map_err(broken)?;
            let synthesize = *file.get(b"espeak_Synth\0").map_err(broken)?;
            let set_voice = *file.get(b"espeak_SetVoiceByName\0").map_err(broken)?;
            let set_parameter = *file.get(b"espeak_SetParameter\0").map_err(broken)?;
            #[cfg(feature = "kokoro")]
            let to_phonemes = *file.get(b"espeak_TextToPhonemes\0").map_err(broken)?;
            // A buffer of 0 ms is the library's own length; no path is the folder it was built with.
            let rate = initialize(SYNCHRONOUS, 0, std::ptr::null(), DONT_EXIT);
            let rate = u32::try_from(rate).ok().and_then(Rate::new);
            let rate = rate.ok_or_else(|| failed("its data is missing; install it (on Debian and Ubuntu: apt install espeak-ng-data)"))?;
            set_callback(collect);
            let voices = entries(list(std::ptr::null_mut()));
            Ok(Library {
                synthesize,
                set_voice,
                set_parameter,
                #[cfg(feature = "kokoro")]
                to_phonemes,
                rate,
                voices,
                _file: file,
            })
        }
    }

    /// Of the sound it makes.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Its voices.
    pub(super) fn voices(&self) -> &[Entry] {
        &self.voices
    }

    /// Says `text` at so many words a minute.
    #[expect(unsafe_code, reason = "a C function; the text and the place for its sound outlive the call, which returns when all is said")]
    pub(super) fn speak(&mut self, text: &str, voice: &str, words_a_minute: i32) -> Result<Spoken, ModelError> {
        self.choose(voice)?;
        let text = terminated(text);
        let mut spoken = Spoken::default();
        let mut collector = Collector { spoken: &mut spoken, rate: self.rate };
        let user_data = (&raw mut collector).cast::<c_void>();
        let status = unsafe {
            (self.set_parameter)(RATE, words_a_minute, 0);
            let bytes = text.as_bytes_with_nul().len();
            (self.synthesize)(text.as_ptr().cast(), bytes, 0, BY_CHARACTER, 0, UTF8, std::ptr::null_mut(), user_data)
        };
        if status == 0 { Ok(spoken) } else { Err(failed(format!("espeak_Synth returned {status}"))) }
    }

    /// How `text` is said: IPA, words set apart by spaces, the letters of one sound tied by `^`. Stops are left out.
    #[cfg(feature = "kokoro")]
    #[expect(
        unsafe_code,
        reason = "a C function; it moves the pointer on within the text and returns a string that lives until its next call"
    )]
    pub(super) fn phonemes(&mut self, text: &str, voice: &str) -> Result<String, ModelError> {
        self.choose(voice)?;
        let text = terminated(text);
        let mut rest = text.as_ptr().cast::<c_void>();
        let mut phonemes = String::new();
        // Each call reads to the next stop, and the last one makes the pointer null.
        while !rest.is_null() {
            let read = unsafe { (self.to_phonemes)(&raw mut rest, UTF8 as c_int, IPA_TIED) };
            if read.is_null() {
                break;
            }
            if !phonemes.is_empty() {
                phonemes.push(' ');
            }
            phonemes.push_str(unsafe { CStr::from_ptr(read) }.to_string_lossy().trim());
        }
        Ok(phonemes)
    }

    #[expect(unsafe_code, reason = "a C function; the name outlives the call")]
    fn choose(&mut self, voice: &str) -> Result<(), ModelError> {
        let entry = self.voices.iter().find(|entry| entry.code == voice);
        let entry = entry.ok_or_else(|| failed(format!("it has no voice \"{voice}\"; install espeak-ng-data of the same version")))?;
        let status = unsafe { (self.set_voice)(entry.identifier.as_ptr()) };
        if status == 0 { Ok(()) } else { Err(failed(format!("the data of its voice \"{voice}\" is missing; install espeak-ng-data"))) }
    }
}

/// A string for C; a zero inside would end it, and is no text.
fn terminated(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).expect("the zeros were taken out above")
}

/// Where the callback puts the sound.
struct Collector<'a> {
    spoken: &'a mut Spoken,
    rate: Rate,
}

/// `t_espeak_callback`: takes sound and events as they are made; 0 asks for more.
#[expect(unsafe_code, reason = "called back by the C library with its sound and events, and with the collector that `speak` gave it")]
unsafe extern "C" fn collect(sound: *mut c_short, count: c_int, events: *mut Event) -> c_int {
    unsafe {
        let mut event = events;
        while let Some(Event { kind, text_position, audio_position, user_data, .. }) = event.as_ref() {
            let Some(collector) = user_data.cast::<Collector>().as_mut() else { return 0 };
            if event == events && !sound.is_null() {
                let sound = std::slice::from_raw_parts(sound, usize::try_from(count).unwrap_or_default());
                collector.spoken.pcm.extend(sound.iter().map(|sample| f32::from(*sample) / 32_768.0));
            }
            if *kind == WORD {
                let place = usize::try_from(*text_position).unwrap_or_default().saturating_sub(1);
                let at = collector.rate.samples_in_ms(u64::try_from(*audio_position).unwrap_or_default());
                collector.spoken.words.push((place, at));
            }
            if *kind == NO_EVENT {
                return 0;
            }
            event = event.add(1);
        }
    }
    0
}

/// The library's list of voices, which ends in a null pointer.
#[expect(unsafe_code, reason = "reads a C list; the library keeps it until it is asked again, and it is copied here")]
unsafe fn entries(mut list: *const *const VoiceEntry) -> Vec<Entry> {
    let mut voices: Vec<Entry> = Vec::new();
    unsafe {
        while let Some(entry) = list.as_ref().and_then(|entry| entry.as_ref()) {
            // The first language is the one that the voice is best at; its byte of priority is not 0.
            if !entry.languages.is_null() && *entry.languages != 0 && !entry.identifier.is_null() {
                let code = CStr::from_ptr(entry.languages.add(1)).to_string_lossy().to_lowercase();
                if voices.iter().all(|voice| voice.code != code) {
                    voices.push(Entry { code, identifier: CStr::from_ptr(entry.identifier).to_owned() });
                }
            }
            list = list.add(1);
        }
    }
    voices
}

type Job = Box<dyn FnOnce(&mut Library) + Send>;

/// A process has one library, and keeps it once it is opened.
static THREAD: OnceLock<Result<SyncSender<Job>, ModelError>> = OnceLock::new();

/// Runs `work` on the library's thread, which is started by the first call; blocks until it is done.
pub(super) fn with<R: Send + 'static>(work: impl FnOnce(&mut Library) -> R + Send + 'static) -> Result<R, ModelError> {
    let jobs = THREAD.get_or_init(start).as_ref().map_err(ModelError::clone)?;
    let (done, result) = mpsc::sync_channel(1);
    let job: Job = Box::new(move |library| {
        let _ = done.send(work(library));
    });
    let gone = || failed("its thread has stopped");
    jobs.send(job).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())
}

fn start() -> Result<SyncSender<Job>, ModelError> {
    let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
    let (opened, is_opened) = mpsc::sync_channel(1);
    let run = move || {
        let mut library = match Library::open() {
            Ok(library) => library,
            Err(error) => return opened.send(Err(error)).unwrap_or_default(),
        };
        let _ = opened.send(Ok(()));
        for job in queue {
            job(&mut library);
        }
    };
    std::thread::Builder::new().name("espeak".to_owned()).spawn(run).map_err(|error| failed(error.to_string()))?;
    is_opened.recv().map_err(|_| failed("its thread stopped while it was opened"))??;
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_laid_out_as_in_the_header() {
        assert_eq!(std::mem::size_of::<Event>(), 32 + std::mem::size_of::<*mut c_void>());
        assert_eq!(std::mem::offset_of!(Event, user_data), 24);
    }

    #[test]
    fn a_zero_in_a_text_ends_nothing() {
        assert_eq!(terminated("a\0b").as_bytes(), b"a b");
    }
}
