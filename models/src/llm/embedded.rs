//! A language model inside the process: any GGUF file of the Llama, Qwen 2, Qwen 3 or Gemma 3 kind.
//!
//! candle reads the file and dequantises; the products of quantised matrices, which are nearly all the work of a step, are our own
//! ([`matrix`]). One thread owns the model and answers one prompt at a time; the keys and values of recent conversations stay, so that a
//! further turn reads only what is new. It does not run adapters, mixtures of experts, images or speculative drafts.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod crew;
mod decoder;
mod gguf;
mod held;
mod matrix;
mod memory;
mod repetition;
mod sampler;
mod sections;
mod shape;
mod template;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc::Sender;

use crate::{Delta, ErrorKind, Finish, LanguageModel, ModelError, Prompt, Sampling, Usage, Workers};
use crew::Crew;
use decoder::{Decoder, Scratch};
use gguf::Gguf;
use held::Held;
use memory::Memories;
use repetition::Repetition;
use sampler::Sampler;
use sections::Sections;
use template::Template;
use tokenizer::Tokenizer;

/// Tokens of a prompt read in one step: a reply that nobody waits for any more ends within one, about 50 ms at 135M weights.
const READ_AT_ONCE: usize = 32;
/// Keys and values kept between answers, bytes: 2,000 tokens of SmolLM2-135M.
const REMEMBERED: usize = 48 << 20;
/// Requests that wait for the one being answered; one more is refused.
const QUEUE: usize = 16;
/// Pieces of an answer ahead of its reader, at 100 tokens a second about 600 ms; then the model waits.
const AHEAD: usize = 64;

/// Opens a GGUF file. `threads` work on each step, the engine's own included; `name` is what errors call it.
pub fn load(path: &Path, threads: usize, name: &str) -> Result<Arc<dyn LanguageModel>, ModelError> {
    let engine = Engine::open(path, threads, name)?;
    Ok(Arc::new(Embedded { workers: Workers::start("llm", vec![engine], QUEUE) }))
}

/// The handle to the thread that owns the model.
struct Embedded {
    workers: Workers<Engine>,
}

impl LanguageModel for Embedded {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let answer = self.workers.stream(AHEAD, move |engine, send| {
            if let Err(error) = engine.answer(&prompt, send) {
                // Nobody left to tell is the one way this fails.
                let _ = send.blocking_send(Err(error));
            }
        });
        match answer {
            Ok(receiver) => stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|delta| (delta, receiver)) }).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
}

/// The model and all it works with.
struct Engine {
    decoder: Decoder,
    tokenizer: Tokenizer,
    template: Template,
    memories: Memories,
    crew: Crew,
    scratch: Scratch,
    name: String,
}

impl Engine {
    fn open(path: &Path, threads: usize, name: &str) -> Result<Engine, ModelError> {
        let mut gguf = Gguf::open(path)?;
        let decoder = Decoder::read(&mut gguf)?;
        let tokenizer = Tokenizer::read(&gguf, decoder.shape.vocabulary)?;
        let template = Template::new(gguf.text("tokenizer.chat_template"), &tokenizer)
            .ok_or_else(|| gguf.unusable("it has no chat template; use the instruction-tuned variant"))?
            .map_err(|detail| gguf.unusable(format!("its chat template does not compile: {detail}")))?;
        let memories = Memories::new(decoder.shape.extent, REMEMBERED);
        let crew = Crew::new(threads.max(1));
        Ok(Engine { decoder, tokenizer, template, memories, crew, scratch: Scratch::default(), name: name.to_owned() })
    }

    /// Answers one prompt; returns early, without an error, when nobody listens any more.
    fn answer(&mut self, prompt: &Prompt, send: &Sender<Result<Delta, ModelError>>) -> Result<(), ModelError> {
        let text = self.template.render(prompt, &self.name)?;
        let tokens = self.tokenizer.encode(&text);
        let context = self.decoder.shape.context;
        if tokens.is_empty() || tokens.len() >= context {
            let detail = format!("the messages are {} tokens; this model reads at most {}, shorten them", tokens.len(), context - 1);
            return Err(ModelError::new(ErrorKind::BadRequest, &self.name, detail));
        }
        // At least the last token is read anew: its logits are not remembered.
        let mut memory = self.memories.recall(&tokens[..tokens.len() - 1]);
        let cached = memory.tokens().len();
        let mut rest = &tokens[cached..];
        while rest.len() > READ_AT_ONCE && !send.is_closed() {
            let (now, later) = rest.split_at(READ_AT_ONCE);
            self.decoder.read_tokens(now, &mut memory, &mut self.scratch, &mut self.crew);
            rest = later;
        }
        if !send.is_closed() {
            self.decoder.step(rest, &mut memory, &mut self.scratch, &mut self.crew);
            let room = context - tokens.len();
            let most = prompt.sampling.max_tokens.map_or(room, |most| room.min(most as usize));
            let mut listener = Listener {
                held: Held::new(&prompt.sampling.stop),
                sections: Sections::new(&text, !prompt.tools.is_empty()),
                send,
                reasoning: 0,
            };
            let outcome = self.write(&prompt.sampling, most, &mut memory, &mut listener);
            let (written, finish) = outcome.inspect_err(|_| memory.truncate(0))?;
            let usage = Usage {
                input_tokens: tokens.len() as u64,
                cached_tokens: cached as u64,
                output_tokens: written as u64,
                reasoning_tokens: listener.reasoning,
                ..Usage::default()
            };
            if let Some(finish) = finish {
                let finish = if listener.sections.called() { Finish::ToolCalls } else { finish };
                // The reader may go away between the two; there is nothing left to stop.
                let _ = send.blocking_send(Ok(Delta::Finish(finish)));
                let _ = send.blocking_send(Ok(Delta::Usage(usage)));
            }
        }
        self.memories.keep(memory);
        Ok(())
    }

    /// Writes up to `most` tokens: how many it wrote, and why it ended, if somebody listened to the end.
    fn write(
        &mut self,
        sampling: &Sampling,
        most: usize,
        memory: &mut memory::Memory,
        listener: &mut Listener,
    ) -> Result<(usize, Option<Finish>), ModelError> {
        let mut sampler = Sampler::new(sampling, RandomState::new().hash_one(0));
        let mut repetition = Repetition::new();
        for written in 0..most {
            let logits = &self.scratch.logits;
            let token = sampler.choose(logits).ok_or_else(|| {
                ModelError::new(ErrorKind::Failed, &self.name, "the model computed no usable number; its file may be damaged")
            })?;
            if self.tokenizer.is_end(token) {
                return Ok((written + 1, listener.finish().then_some(Finish::Stop)));
            }
            match listener.hear(self.tokenizer.piece(token)) {
                Heard::More => {}
                Heard::Stop => return Ok((written + 1, Some(Finish::Stop))),
                Heard::Gone => return Ok((written + 1, None)),
            }
            // Nobody wants the rest, and a caller would have to hear it.
            if repetition.push(token) {
                return Ok((written + 1, listener.finish().then_some(Finish::Stop)));
            }
            if written + 1 < most {
                self.decoder.step(&[token], memory, &mut self.scratch, &mut self.crew);
            }
        }
        Ok((most, listener.finish().then_some(Finish::Length)))
    }
}

/// The way from tokens to whoever waits for the answer.
struct Listener<'a> {
    held: Held,
    sections: Sections,
    send: &'a Sender<Result<Delta, ModelError>>,
    /// Tokens of reasoning so far.
    reasoning: u64,
}

/// What became of a token.
enum Heard {
    /// It was taken; go on.
    More,
    /// A stop text came.
    Stop,
    /// Nobody listens any more.
    Gone,
}

impl Listener<'_> {
    /// Takes a token's bytes.
    fn hear(&mut self, bytes: &[u8]) -> Heard {
        self.reasoning += u64::from(self.sections.reasoning());
        let released = self.held.push(bytes);
        let mut deltas = self.sections.push(&released.text);
        if released.stopped {
            deltas.extend(self.sections.finish());
        }
        match (self.send(deltas), released.stopped) {
            (false, _) => Heard::Gone,
            (true, true) => Heard::Stop,
            (true, false) => Heard::More,
        }
    }

    /// Lets out what is still held; whether somebody listened.
    fn finish(&mut self) -> bool {
        let rest = self.held.finish();
        let mut deltas = self.sections.push(&rest);
        deltas.extend(self.sections.finish());
        self.send(deltas)
    }

    fn send(&self, deltas: Vec<Delta>) -> bool {
        deltas.into_iter().all(|delta| self.send.blocking_send(Ok(delta)).is_ok()) && !self.send.is_closed()
    }
}
