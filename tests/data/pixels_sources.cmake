# Tests of data/image and data/text, relative to this folder. They need triptych_image, triptych_phrases, nlohmann_json.
set(PIXELS_TEST_SOURCES
  image_decode_test.cpp
  image_damage_test.cpp
  image_resize_test.cpp
  image_augment_test.cpp
  image_operations_test.cpp
  text_bert_wordpiece_test.cpp
  text_clip_bpe_test.cpp text_fix_text_test.cpp
  text_html_test.cpp
  text_noun_phrases_test.cpp
  text_phrase_file_test.cpp
  text_phrase_pieces_test.cpp
  text_prompts_test.cpp
  text_tcl_clean_test.cpp)
