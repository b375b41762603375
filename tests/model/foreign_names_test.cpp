// Which library a file comes from, and where its tensors go.
#include "core/model/foreign_names.h"

#include <gtest/gtest.h>

namespace triptych {
namespace {

TEST(ForeignNames, OwnNamesStay) {
  const auto names = foreign_names({"visual.conv1.weight", "text_projection", "something"});
  EXPECT_EQ(names.library, "OpenCLIP");
  EXPECT_FALSE(names.backbone);
  EXPECT_EQ(names.file_name.at("something"), "something");
}

TEST(ForeignNames, TimmsVit) {
  const auto names = foreign_names({"cls_token", "pos_embed", "patch_embed.proj.bias", "blocks.0.attn.qkv.weight",
                                    "blocks.11.mlp.fc2.bias", "blocks.3.norm1.weight", "norm.bias", "head.weight"});
  EXPECT_EQ(names.library, "timm's ViT");
  EXPECT_TRUE(names.backbone);
  const std::map<std::string, std::string> expected = {
      {"visual.class_embedding", "cls_token"},
      {"visual.positional_embedding", "pos_embed"},
      {"visual.conv1.bias", "patch_embed.proj.bias"},
      {"visual.transformer.resblocks.0.attn.in_proj_weight", "blocks.0.attn.qkv.weight"},
      {"visual.transformer.resblocks.11.mlp.c_proj.bias", "blocks.11.mlp.fc2.bias"},
      {"visual.transformer.resblocks.3.ln_1.weight", "blocks.3.norm1.weight"},
      {"visual.ln_post.bias", "norm.bias"}};
  EXPECT_EQ(names.file_name, expected);
}

TEST(ForeignNames, BothSwins) {
  const auto authors = foreign_names({"layers.0.blocks.0.attn.qkv.weight", "layers.0.downsample.norm.weight",
                                      "layers.0.blocks.1.attn_mask", "layers.0.blocks.0.attn.relative_position_index"});
  EXPECT_EQ(authors.library, "the authors' Swin");
  EXPECT_EQ(authors.file_name.size(), 2U);
  EXPECT_EQ(authors.file_name.at("visual.layers.0.downsample.norm.weight"), "layers.0.downsample.norm.weight");
  const auto timm = foreign_names({"layers.0.blocks.0.attn.qkv.weight", "layers.1.downsample.norm.weight"});
  EXPECT_EQ(timm.library, "timm's Swin");
  EXPECT_EQ(timm.file_name.at("visual.layers.0.downsample.norm.weight"), "layers.1.downsample.norm.weight");
}

TEST(ForeignNames, UniclTorchvisionAndBert) {
  const auto unicl = foreign_names({"image_encoder.patch_embed.proj.weight", "image_projection", "logit_scale",
                                    "text_encoder.resblocks.1.ln_1.bias", "text_encoder.ln_final.bias"});
  EXPECT_EQ(unicl.library, "UniCL's release");
  EXPECT_FALSE(unicl.backbone);
  EXPECT_EQ(unicl.file_name.at("visual.proj"), "image_projection");
  EXPECT_EQ(unicl.file_name.at("transformer.resblocks.1.ln_1.bias"), "text_encoder.resblocks.1.ln_1.bias");
  EXPECT_EQ(unicl.file_name.at("ln_final.bias"), "text_encoder.ln_final.bias");
  EXPECT_EQ(unicl.file_name.at("logit_scale"), "logit_scale");

  const auto resnet = foreign_names({"bn1.weight", "layer1.0.conv1.weight", "fc.weight"});
  EXPECT_EQ(resnet.library, "torchvision's ResNet");
  EXPECT_EQ(resnet.file_name.size(), 2U);

  const auto bert = foreign_names({"bert.embeddings.word_embeddings.weight", "bert.embeddings.position_ids",
                                   "bert.pooler.dense.weight", "cls.predictions.bias", "cls.predictions.decoder.weight",
                                   "cls.seq_relationship.weight"});
  EXPECT_EQ(bert.library, "Hugging Face's BERT");
  EXPECT_EQ(bert.file_name.size(), 2U);
  EXPECT_EQ(bert.file_name.at("cls.predictions.bias"), "cls.predictions.bias");  // of a fusion encoder

  const auto tcl = foreign_names({"visual_encoder.cls_token", "visual_encoder.blocks.0.attn.qkv.weight",
                                  "text_encoder.bert.embeddings.word_embeddings.weight",
                                  "text_encoder.bert.encoder.layer.6.crossattention.self.key.bias",
                                  "text_encoder.cls.predictions.transform.dense.weight", "text_proj.bias", "temp",
                                  "itm_head.weight", "visual_encoder_m.cls_token", "image_queue", "queue_ptr"});
  EXPECT_EQ(tcl.library, "TCL's release");
  EXPECT_FALSE(tcl.backbone);
  EXPECT_EQ(tcl.file_name.size(), 8U);
  EXPECT_EQ(tcl.file_name.at("visual.transformer.resblocks.0.attn.in_proj_weight"),
            "visual_encoder.blocks.0.attn.qkv.weight");
  EXPECT_EQ(tcl.file_name.at("encoder.layer.6.crossattention.self.key.bias"),
            "text_encoder.bert.encoder.layer.6.crossattention.self.key.bias");
  EXPECT_EQ(tcl.file_name.at("temperature"), "temp");
  // A model of this program keeps its names: it has the projection.
  EXPECT_EQ(foreign_names({"embeddings.word_embeddings.weight", "text_projection"}).library, "OpenCLIP");
  const auto own = foreign_names({"embeddings.word_embeddings.weight", "text_proj.weight", "visual.class_embedding"});
  EXPECT_FALSE(own.backbone);
  EXPECT_EQ(own.file_name.size(), 3U);
}

}  // namespace
}  // namespace triptych
