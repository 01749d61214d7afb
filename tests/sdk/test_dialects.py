"""openai-python and anthropic, unmodified, against a server whose models answer by rote: TIMBRE_BASE_URL (ends in /v1)."""

import json
import os

import anthropic
import openai
import pytest

BASE = os.environ["TIMBRE_BASE_URL"]
KEY = os.environ.get("TIMBRE_API_KEY", "none")
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture(scope="session")
def claude():
    return anthropic.Anthropic(base_url=BASE.removesuffix("/v1"), api_key=KEY, max_retries=0)


@pytest.fixture(scope="session")
def client():
    return openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)


def ask(text="Say hello."):
    return [{"role": "user", "content": text}]


def test_models_are_listed(claude):
    models = claude.models.list().data
    assert "fake/echo" in [model.id for model in models] and claude.models.retrieve("fake/echo").type == "model"


def test_message_whole(claude):
    message = claude.messages.create(model="fake/echo", max_tokens=16, messages=ask("hi"))
    assert message.content[0].text == "You said: hi." and message.stop_reason == "end_turn"
    assert message.usage.input_tokens == 3 and message.usage.output_tokens == 2
    assert message.model_extra["timbre"]["route"] == "direct" and message.model_extra["metadata"]["attempts"][0]["status"] == "success"
    assert message._request_id


def test_message_streamed(claude):
    with claude.messages.stream(model="fake/echo", max_tokens=16, messages=ask("hi")) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert message.content[0].text == "You said: hi." and message.stop_reason == "end_turn" and message.usage.output_tokens == 2
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"


def test_thinking_and_its_signature_come_and_go_back(claude):
    with claude.messages.stream(model="fake/thinker", max_tokens=16, messages=ask("2+2?")) as stream:
        message = stream.get_final_message()
    thinking, text = message.content
    assert (thinking.thinking, thinking.signature, text.text) == ("Hm.", "sealed", "Four.")
    assert claude.messages.create(model="fake/thinker", max_tokens=16, messages=ask()).content[0].signature == "sealed"
    dialogue = [*ask("2+2?"), {"role": "assistant", "content": message.content}, *ask("sure?")]
    assert claude.messages.create(model="fake/echo", max_tokens=16, messages=dialogue).content[0].text == "You said: sure?."


@pytest.mark.parametrize("streamed", [False, True])
def test_message_tools(claude, streamed):
    tools = [{"name": "weather", "input_schema": WEATHER}]
    asked = {"model": "fake/two-tools", "max_tokens": 16, "messages": ask(), "tools": tools, "tool_choice": {"type": "any"}}
    if streamed:
        with claude.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = claude.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert [(block.id, block.input["city"]) for block in message.content[1:]] == [("call_1", "Rome"), ("call_2", "Oslo")]
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "sun"} for block in message.content[1:]]
    dialogue = [*ask(), {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    told = json.loads(claude.messages.create(model="fake/mirror", max_tokens=16, messages=dialogue, tools=tools).content[0].text)
    assert told["messages"] == 4 and 'Some("call_2")' in told["last"]


def test_message_rare_fields_reach_the_model(claude):
    asked = {"metadata": {"user_id": "u1"}, "extra_body": {"rare": 7}, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    message = claude.messages.create(model="fake/mirror", max_tokens=16, messages=ask(), **asked)
    extra = json.loads(message.content[0].text)["extra"]
    assert extra == {"parallel_tool_calls": False, "user": "u1", "rare": 7}


def test_tokens_are_counted(claude):
    count = claude.messages.count_tokens(model="fake/echo", messages=ask(), system="Be brief.")
    assert 5 < count.input_tokens < 30


def test_message_errors_become_the_sdks_own(claude):
    with pytest.raises(anthropic.NotFoundError) as error:
        claude.messages.create(model="nobody/nothing", max_tokens=16, messages=ask())
    assert error.value.body["error"]["type"] == "not_found_error" and error.value.body["request_id"]
    with pytest.raises(anthropic.BadRequestError) as error:
        claude.messages.create(model="fake/echo", max_tokens=16, messages=[])
    assert "messages" in error.value.message
    with pytest.raises(anthropic.RateLimitError) as error:
        claude.messages.create(model="fake/busy", max_tokens=16, messages=ask(), stream=True)
    assert error.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.APIStatusError) as error:
        with claude.messages.stream(model="fake/broken", max_tokens=16, messages=ask()) as stream:
            stream.get_final_message()
    assert "broke off" in str(error.value)


def test_response_whole(client):
    response = client.responses.create(model="fake/echo", input="hi", instructions="Be brief.", metadata={"tier": "gold"})
    assert response.output_text == "You said: hi." and response.status == "completed" and response.usage.total_tokens == 5
    assert response.metadata == {"tier": "gold"} and response.instructions == "Be brief."
    assert response.model_extra["timbre"]["attempts"][0]["status"] == "success"
    assert client.responses.retrieve(response.id).output_text == response.output_text


def test_response_streamed(client):
    with client.responses.stream(model="fake/thinker", input="2+2?", include=["reasoning.encrypted_content"]) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    assert response.output_text == "Four." and response.output[0].summary[0].text == "Hm."
    items = [item.model_dump(exclude_none=True) for item in response.output]
    again = client.responses.create(model="fake/echo", input=[*ask("2+2?"), *items, *ask("sure?")], store=False)
    assert again.output_text == "You said: sure?."


def test_response_tools_go_on_from_the_response_before(client):
    tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}]
    with client.responses.stream(model="fake/two-tools", input="Where is sun?", tools=tools) as stream:
        for _ in stream:
            pass
        response = stream.get_final_response()
    calls = [item for item in response.output if item.type == "function_call"]
    assert [(call.call_id, json.loads(call.arguments)["city"]) for call in calls] == [("call_1", "Rome"), ("call_2", "Oslo")]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
    told = client.responses.create(model="fake/mirror", input=outputs, previous_response_id=response.id, tools=tools)
    assert json.loads(told.output_text)["messages"] == 4
    client.responses.delete(response.id)
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="fake/mirror", input=outputs, previous_response_id=response.id)
    assert error.value.param == "previous_response_id" and error.value.code == "previous_response_not_found"


def test_response_structured_and_rare_fields_reach_the_model(client):
    shape = {"type": "json_schema", "name": "out", "schema": {"type": "object"}, "strict": True}
    asked = {"text": {"format": shape}, "reasoning": {"effort": "low"}, "parallel_tool_calls": False, "extra_body": {"rare": 7}}
    extra = json.loads(client.responses.create(model="fake/mirror", input="hi", **asked).output_text)["extra"]
    assert extra["response_format"]["json_schema"] == {"name": "out", "schema": {"type": "object"}, "strict": True}
    assert (extra["reasoning_effort"], extra["parallel_tool_calls"], extra["rare"]) == ("low", False, 7)


def test_response_errors_become_the_sdks_own(client):
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody/nothing", input="hi")
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="fake/busy", input="hi", stream=True)
    with pytest.raises(openai.APIError) as error:
        for _ in client.responses.create(model="fake/broken", input="hi", stream=True):
            pass
    assert "broke off" in str(error.value)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings(client, encoding):
    asked = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="fake/letters", input=["abc", "b"], **asked)
    vector = answer.data[0].embedding
    assert vector == "AADCQgAAxEIAAMZC" if encoding == "base64" else list(vector) == [97.0, 98.0, 99.0]
    assert answer.data[1].index == 1 and answer.usage.total_tokens == 2


def test_completion(client):
    answer = client.completions.create(model="fake/echo", prompt="hi", max_tokens=16)
    assert answer.choices[0].text == "You said: hi." and answer.usage.total_tokens == 5
    chunks = list(client.completions.create(model="fake/echo", prompt="hi", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "You said: hi."
    assert chunks[-1].usage.total_tokens == 5 and len({chunk.id for chunk in chunks}) == 1


def test_chat_reasoning_comes_and_rare_fields_reach_the_model(client):
    answer = client.chat.completions.create(model="fake/thinker", messages=ask())
    assert answer.choices[0].message.model_extra["reasoning_signature"] == "sealed"
    answer = client.chat.completions.create(model="fake/mirror", messages=ask(), user="u1", max_completion_tokens=9, extra_body={"rare": 7})
    assert json.loads(answer.choices[0].message.content)["extra"] == {"rare": 7, "user": "u1", "max_completion_tokens": 9}
