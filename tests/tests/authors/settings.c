/* Checks framegate_settings.h, as C and as C++. Prints every wrong answer; the exit status is 1 if there was one. */
#include <locale.h>

#include "framegate_settings.h"

static char message[256];
static int wrong, cases;

static void expect(bool holds, const char *json, const char *what, const char *expected) {
    cases++;
    if (holds) return;
    wrong++;
    printf("%s of %.200s: expected %s; the message is: %s\n", what, json, expected, message);
}

/* The text in memory of exactly its size, so that the sanitizer sees a read outside of it. */
static struct framegate_text copied(const char *json, size_t len) {
    uint8_t *data = (uint8_t *)malloc(len > 0 ? len : 1);
    if (data == NULL) abort();
    memcpy(data, json, len);
    struct framegate_text text = {data, len};
    return text;
}

static struct framegate_text text_of(const char *json) { return copied(json, strlen(json)); }

static void done(struct framegate_text text) { free((void *)text.data); }

static struct framegate_error room(void) {
    struct framegate_error error = {(uint8_t *)message, sizeof message, 0, 0};
    message[0] = 0;
    return error;
}

/* Whether a call failed, as an error of the settings, with this message. */
static bool failed(int32_t outcome, struct framegate_error error, const char *expected) {
    return outcome == FRAMEGATE_OUTCOME_FAILED && error.kind == FRAMEGATE_ERROR_KIND_SETTINGS &&
           error.len == strlen(expected) && memcmp(message, expected, error.len) == 0;
}

/* Reads the key "a", which has this value, or which fails with this message. */
static void is_int(const char *json, int64_t expected, const char *failure) {
    struct framegate_text text = text_of(json);
    struct framegate_error error = room();
    int64_t value = 77;
    int32_t outcome = framegate_setting_int(text, "a", &value, &error);
    bool holds = failure == NULL ? outcome == FRAMEGATE_OUTCOME_DONE && value == expected
                                 : failed(outcome, error, failure) && value == 77;
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)expected);
    expect(holds, json, "int", failure == NULL ? number : failure);
    done(text);
}

static void is_float(const char *json, double expected, const char *failure) {
    struct framegate_text text = text_of(json);
    struct framegate_error error = room();
    double value = 77;
    int32_t outcome = framegate_setting_float(text, "a", &value, &error);
    bool holds = failure == NULL ? outcome == FRAMEGATE_OUTCOME_DONE && memcmp(&value, &expected, sizeof value) == 0
                                 : failed(outcome, error, failure) && value <= 77 && value >= 77;
    char number[64];
    snprintf(number, sizeof number, "%.17g, not %.17g", expected, value);
    expect(holds, json, "float", failure == NULL ? number : failure);
    done(text);
}

static void is_bool(const char *json, bool expected, const char *failure) {
    for (int before = 0; before < 2; before++) {
        struct framegate_text text = text_of(json);
        struct framegate_error error = room();
        bool value = before == 1;
        int32_t outcome = framegate_setting_bool(text, "a", &value, &error);
        bool holds = failure == NULL ? outcome == FRAMEGATE_OUTCOME_DONE && value == expected
                                     : failed(outcome, error, failure) && value == (before == 1);
        expect(holds, json, "bool", failure == NULL ? "the value" : failure);
        done(text);
    }
}

static void is_str(const char *json, size_t capacity, const char *expected, const char *failure) {
    struct framegate_text text = text_of(json);
    struct framegate_error error = room();
    char *value = (char *)malloc(capacity > 0 ? capacity : 1); /* of exactly this size, too */
    if (value == NULL) abort();
    if (capacity > 0) value[0] = '!'; /* what is not ended with a zero is not changed */
    int32_t outcome = framegate_setting_str(text, "a", value, capacity, &error);
    bool holds = failure == NULL ? outcome == FRAMEGATE_OUTCOME_DONE && strcmp(value, expected) == 0
                                 : failed(outcome, error, failure) && (capacity == 0 || value[0] == '!');
    expect(holds, json, "str", failure == NULL ? expected : failure);
    free(value);
    done(text);
}

static void is_known(const char *json, const char *const *keys, const char *failure) {
    struct framegate_text text = text_of(json);
    struct framegate_error error = room();
    int32_t outcome = framegate_settings_known(text, keys, &error);
    bool holds = failure == NULL ? outcome == FRAMEGATE_OUTCOME_DONE : failed(outcome, error, failure);
    expect(holds, json, "known", failure == NULL ? "nothing unknown" : failure);
    done(text);
}

static void is_required(const char *json, const char *key, const char *failure) {
    struct framegate_text text = text_of(json);
    struct framegate_error error = room();
    int32_t outcome = framegate_setting_required(text, key, &error);
    bool holds = failure == NULL ? outcome == FRAMEGATE_OUTCOME_DONE : failed(outcome, error, failure);
    expect(holds, json, "required", failure == NULL ? "the key" : failure);
    expect(framegate_setting_has(text, key) == (failure == NULL), json, "has", failure == NULL ? "true" : "false");
    done(text);
}

/* Calls everything; returns how many calls failed because the text is not JSON. */
static int refusals(struct framegate_text text) {
    static const char *const keys[] = {"a", "b", NULL};
    int64_t whole = 0;
    double number = 0;
    bool flag = false;
    char string[8];
    int refused = 0;
    for (int call = 0; call < 6; call++) {
        struct framegate_error error = room();
        int32_t outcome = call == 0   ? framegate_setting_int(text, "a", &whole, &error)
                          : call == 1 ? framegate_setting_float(text, "a", &number, &error)
                          : call == 2 ? framegate_setting_bool(text, "a", &flag, &error)
                          : call == 3 ? framegate_setting_str(text, "a", string, sizeof string, &error)
                          : call == 4 ? framegate_setting_required(text, "a", &error)
                                      : framegate_settings_known(text, keys, &error);
        refused += outcome == FRAMEGATE_OUTCOME_FAILED && error.kind == FRAMEGATE_ERROR_KIND_SETTINGS &&
                   strncmp(message, "settings: not a JSON object (byte ", 34) == 0;
    }
    return refused;
}

static void is_refused(const char *json, size_t len) {
    struct framegate_text text = copied(json, len);
    expect(refusals(text) == 6 && !framegate_setting_has(text, "a"), json, "every call", "refused");
    done(text);
}

static void is_valid(const char *json) {
    struct framegate_text text = text_of(json);
    expect(refusals(text) == 0, json, "every call", "no refusal");
    done(text);
}

static void whole_numbers(void) {
    is_int("{\"a\":5}", 5, NULL);
    is_int(" \t\r\n{ \"a\" : 5 } \n", 5, NULL);
    is_int("{\"a\":-5,\"b\":6}", -5, NULL);
    is_int("{\"a\":0}", 0, NULL);
    is_int("{\"a\":-0}", 0, NULL);
    is_int("{\"a\":9223372036854775807}", INT64_MAX, NULL);
    is_int("{\"a\":-9223372036854775808}", INT64_MIN, NULL);
    is_int("{\"b\":5}", 77, NULL);
    is_int("{}", 77, NULL);
    is_int("{\"a\":9223372036854775808}", 0,
           "settings.a: expected a whole number of 64 bits, found 9223372036854775808");
    is_int("{\"a\":-9223372036854775809}", 0,
           "settings.a: expected a whole number of 64 bits, found -9223372036854775809");
    is_int("{\"a\":12345678901234567890123456789012345678901234567890}", 0,
           "settings.a: expected a whole number of 64 bits, found 1234567890123456789012345678901234567890...");
    is_int("{\"a\":1.0}", 0, "settings.a: expected a whole number, found 1.0");
    is_int("{\"a\":1e3}", 0, "settings.a: expected a whole number, found 1e3");
    is_int("{\"a\":\"abc\"}", 0, "settings.a: expected a whole number, found \"abc\"");
    is_int("{\"a\":\"5\"}", 0, "settings.a: expected a whole number, found \"5\"");
    is_int("{\"a\":true}", 0, "settings.a: expected a whole number, found true");
    is_int("{\"a\":null}", 0, "settings.a: expected a whole number, found null");
    is_int("{\"a\":[1]}", 0, "settings.a: expected a whole number, found [1]");
    is_int("{\"a\":{\"a\":1}}", 0, "settings.a: expected a whole number, found {\"a\":1}");
    is_int("{\"a\":{\"wrong\":[true,false,null,1.5,\"a long text\"]}}", 0,
           "settings.a: expected a whole number, found {\"wrong\":[true,false,null,1.5,\"a long te...");
    /* Byte 40 is in the middle of the last letter that would fit. */
    is_int("{\"a\":\"38 bytes, then one letter of 2 bytes: \xc3\xa9t\xc3\xa9\"}", 0,
           "settings.a: expected a whole number, found \"38 bytes, then one letter of 2 bytes: ...");
}

static void floats(void) {
    is_float("{\"a\":0.1}", 0.1, NULL);
    is_float("{\"a\":-12.5e3}", -12.5e3, NULL);
    is_float("{\"a\":12.5E+3}", 12.5e3, NULL);
    is_float("{\"a\":1e-3}", 1e-3, NULL);
    is_float("{\"a\":5}", 5, NULL);
    is_float("{\"a\":0.0}", 0.0, NULL);
    is_float("{\"a\":-0.0}", -0.0, NULL);
    is_float("{\"a\":3.141592653589793}", 3.141592653589793, NULL);
    is_float("{\"a\":0.30000000000000004}", 0.30000000000000004, NULL);
    is_float("{\"a\":1.7976931348623157e308}", 1.7976931348623157e308, NULL);
    is_float("{\"a\":5e-324}", 5e-324, NULL);
    is_float("{\"a\":2.2250738585072014e-308}", 2.2250738585072014e-308, NULL);
    is_float("{\"a\":123456789012345678901234567890}", 123456789012345678901234567890.0, NULL);
    is_float("{\"a\":1e-99999999999999999999}", 0.0, NULL);
    is_float("{\"a\":0e99999999999999999999}", 0.0, NULL);
    is_float("{\"b\":0.1}", 77, NULL);
    is_float("{\"a\":1e309}", 0, "settings.a: expected a number of 64 bits, found 1e309");
    is_float("{\"a\":-1e309}", 0, "settings.a: expected a number of 64 bits, found -1e309");
    is_float("{\"a\":1e99999999999999999999}", 0,
             "settings.a: expected a number of 64 bits, found 1e99999999999999999999");
    is_float("{\"a\":\"0.1\"}", 0, "settings.a: expected a number, found \"0.1\"");
    is_float("{\"a\":false}", 0, "settings.a: expected a number, found false");
    is_float("{\"a\":null}", 0, "settings.a: expected a number, found null");
    is_float("{\"a\":[]}", 0, "settings.a: expected a number, found []");
    char json[500] = "{\"a\":1.", zeros[400] = "";
    memset(zeros, '0', 368);
    strcat(strcat(json, zeros), "}");
    is_float(json, 1.0, NULL);
    snprintf(json, sizeof json, "{\"a\":1.%s0}", zeros);
    is_float(json, 0, "settings.a: expected a number of at most 370 characters, "
                      "found 1.00000000000000000000000000000000000000...");
}

static void bools(void) {
    is_bool("{\"a\":true}", true, NULL);
    is_bool("{\"a\":false}", false, NULL);
    is_bool("{\"a\":\"true\"}", false, "settings.a: expected true or false, found \"true\"");
    is_bool("{\"a\":1}", false, "settings.a: expected true or false, found 1");
    is_bool("{\"a\":null}", false, "settings.a: expected true or false, found null");
    is_bool("{\"a\":{}}", false, "settings.a: expected true or false, found {}");
}

static void strings(void) {
    struct framegate_text missing = text_of("{\"b\":\"x\"}");
    struct framegate_error error = room();
    char value[8] = "default";
    expect(framegate_setting_str(missing, "a", value, sizeof value, &error) == FRAMEGATE_OUTCOME_DONE &&
               strcmp(value, "default") == 0, "{\"b\":\"x\"}", "str", "the default");
    done(missing);
    is_str("{\"a\":\"tcp://camera1:9000\"}", 64, "tcp://camera1:9000", NULL);
    is_str("{\"a\":\"\"}", 1, "", NULL);
    is_str("{\"a\":\"1234567\"}", 8, "1234567", NULL);
    is_str("{\"a\":\"12345678\"}", 8, "", "settings.a: expected fewer than 8 bytes, found 8");
    is_str("{\"a\":\"\"}", 0, "", "settings.a: expected fewer than 0 bytes, found 0");
    is_str("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", 9, "\"\\/\b\f\n\r\t", NULL);
    is_str("{\"a\":\"\\u0041\\u00e9\\u00E9\\u20ac\"}", 9, "A\xc3\xa9\xc3\xa9\xe2\x82\xac", NULL);
    is_str("{\"a\":\"\\u0001\\u007f\\u0080\\u07ff\\u0800\\uffff\"}", 16,
           "\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", NULL);
    is_str("{\"a\":\"\\ud83d\\ude00\"}", 5, "\xf0\x9f\x98\x80", NULL);
    is_str("{\"a\":\"\\ud800\\udc00\\uDBFF\\uDFFF\"}", 9, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", NULL);
    is_str("{\"a\":\"\\ud83d\\ude00\"}", 4, "", "settings.a: expected fewer than 4 bytes, found 4");
    is_str("{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\"}", 7, "\xc3\xa9\xf0\x9f\x98\x80", NULL);
    is_str("{\"a\":\"x\\u0000y\"}", 8, "", "settings.a: expected a string without \\u0000, found \"x\\u0000y\"");
    is_str("{\"a\":5}", 8, "", "settings.a: expected a string, found 5");
    is_str("{\"a\":null}", 8, "", "settings.a: expected a string, found null");
    is_str("{\"a\":[\"x\"]}", 8, "", "settings.a: expected a string, found [\"x\"]");
}

static void keys(void) {
    is_int("{\"a\":1,\"a\":2}", 2, NULL);
    is_int("{\"a\":1,\"\\u0061\":2,\"b\":3}", 2, NULL);
    is_int("{\"a\":\"x\",\"a\":2}", 2, NULL);
    is_int("{\"a\":2,\"a\":\"x\"}", 0, "settings.a: expected a whole number, found \"x\"");
    is_int("{\"aa\":1,\"\":2,\"a\\u0000\":3,\"A\":4,\"\\u0000\":5}", 77, NULL);
    is_int("{\"b\":{\"a\":1},\"c\":[{\"a\":2}]}", 77, NULL);
    is_int("{\"b\":\"\\\"a\\\":1\",\"c\":[[],{},[{\"a\":[]}]],\"a\":5}", 5, NULL);

    static const char *const some[] = {"port", "host", NULL};
    static const char *const none[] = {NULL};
    static const char *const odd[] = {"\xf0\x9f\x98\x80", "\"\n", "", NULL};
    is_known("{}", some, NULL);
    is_known("{\"host\":null,\"\\u0070ort\":[{\"prot\":1}],\"port\":2}", some, NULL);
    is_known("{\"host\":1,\"prot\":1,\"trop\":2}", some, "settings.prot: unknown; this plugin knows port, host");
    is_known("{\"por\":1}", some, "settings.por: unknown; this plugin knows port, host");
    is_known("{\"ports\":1}", some, "settings.ports: unknown; this plugin knows port, host");
    is_known("{\"port\\u0000\":1}", some, "settings.port\\u0000: unknown; this plugin knows port, host");
    is_known("{\"\":1}", some, "settings.: unknown; this plugin knows port, host");
    is_known("{\"port\":1}", none, "settings.port: unknown; this plugin knows no settings");
    is_known("{}", none, NULL);
    is_known("{\"\\ud83d\\ude00\":1,\"\\\"\\n\":2,\"\":3,\"\xf0\x9f\x98\x80\":4}", odd, NULL);
    is_known("{\"123456789012345678901234567890123456789\xc3\xa9\":1}", none,
             "settings.123456789012345678901234567890123456789: unknown; this plugin knows no settings");

    is_required("{\"url\":1}", "url", NULL);
    is_required("{\"url\":null}", "url", NULL);
    is_required("{\"ur\\u006c\":1}", "url", NULL);
    is_required("{\"urls\":1,\"b\":{\"url\":1}}", "url", "settings: missing field \"url\"");
    is_required("{}", "url", "settings: missing field \"url\"");
}

/* A list in a list in a list. Together with the settings it has one level more. */
static void nested(size_t levels, bool valid) {
    static char json[400000];
    strcpy(json, "{\"b\":");
    memset(json + 5, '[', levels);
    memset(json + 5 + levels, ']', levels);
    strcpy(json + 5 + 2 * levels, "}");
    if (valid) is_valid(json);
    else is_refused(json, strlen(json));
    is_refused(json, 5 + levels);
}

static void refused(void) {
    static const char *const invalid[] = {
        "", " ", "null", "5", "\"a\"", "[]", "[{\"a\":1}]", "{", "}", "{]", "{}}", "{} x", "{}{}", "{\"a\":1},",
        "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,\"a\":1}", "{\"a\":1 \"b\":2}", "{\"a\":1,,\"b\":2}",
        "{\"a\" 1}", "{\"a\"::1}", "{a:1}", "{'a':1}", "{1:1}", "{\"a\":1]", "{\"b\":[1}", "{\"b\":[1,]}",
        "{\"b\":[,1]}", "{\"b\":[1 2]}", "{\"b\":{]}}", "{\"b\":[1:2]}", "{\"b\":tru}", "{\"b\":True}", "{\"b\":nul}",
        "{\"b\":truee}", "{\"b\":NaN}", "{\"b\":Infinity}", "{\"b\":-Infinity}", "{\"b\":01}", "{\"b\":-}",
        "{\"b\":-01}", "{\"b\":+1}", "{\"b\":.5}", "{\"b\":5.}", "{\"b\":1.e3}", "{\"b\":1e}", "{\"b\":1e+}",
        "{\"b\":1e1.5}", "{\"b\":0x10}", "{\"b\":1_000}", "{\"b\":\"", "{\"b\":\"x", "{\"b\":\"\\\"}",
        "{\"b\":\"\\x\"}", "{\"b\":\"\\'\"}", "{\"b\":\"\\u12\"}", "{\"b\":\"\\u12g4\"}", "{\"b\":\"\\uD800\"}",
        "{\"b\":\"\\udc00\"}", "{\"b\":\"\\ud800\\u0041\"}", "{\"b\":\"\\ud800\\ud800\"}", "{\"b\":\"\\ud800x\"}",
        "{\"b\":\"\\ud800\\n\"}", "{\"b\":\"\n\"}", "{\"b\":\"\t\"}", "{\"\n\":1}", "{\"\\u\":1}", "{\"\\ud800\":1}",
        "{\"a\":1}//", "/**/{}", "\xef\xbb\xbf{}", "{\"a\":1}\f",
    };
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) is_refused(invalid[i], strlen(invalid[i]));
    is_refused("{}\0", 3);
    is_refused("{\0}", 3);
    is_refused("{\"b\":\"\0\"}", 9);
    is_refused("{\"b\":1\0}", 8);
    struct framegate_text nothing = {NULL, 0};
    expect(refusals(nothing) == 6, "nothing", "every call", "refused");
    nested(127, true);
    nested(128, false);
    nested(150000, false);
}

/* Cuts a text everywhere, and puts every byte in every place. The sanitizers look for reads outside of the text. */
static void damaged(void) {
    static const char json[] = "{\"a\":\"x\\n\\ud83d\\ude00\","
                               "\"b\":[-1.5e+3,{\"c\":null,\"d\":[true,false]},{}],\"a\":-12.5e-1}";
    is_valid(json);
    for (size_t len = 0; len < sizeof json - 1; len++) is_refused(json, len);
    for (size_t at = 0; at < sizeof json - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            struct framegate_text text = copied(json, sizeof json - 1);
            ((uint8_t *)text.data)[at] = (uint8_t)byte;
            int refused = refusals(text);
            expect(refused == 0 || refused == 6, json, "every call", "the same answer");
            done(text);
        }
    }
}

/* The message is cut if the host's room is small. */
static void small_rooms(void) {
    struct framegate_text text = text_of("{\"a\":\"abc\"}");
    for (size_t capacity = 0; capacity < 60; capacity++) {
        int64_t value = 77;
        struct framegate_error error = {capacity > 0 ? (uint8_t *)malloc(capacity) : NULL, capacity, 0, 0};
        int32_t outcome = framegate_setting_int(text, "a", &value, &error);
        expect(outcome == FRAMEGATE_OUTCOME_FAILED && error.len <= capacity, "a small room", "int", "a cut message");
        free(error.data);
    }
    done(text);
}

int main(void) {
    /* Where a locale with a decimal comma is installed, the test runs with it. */
    setlocale(LC_ALL, "");
    whole_numbers();
    floats();
    bools();
    strings();
    keys();
    refused();
    damaged();
    small_rooms();
    printf("decimal point %s: %d cases, %d wrong\n", localeconv()->decimal_point, cases, wrong);
    return wrong > 0;
}
